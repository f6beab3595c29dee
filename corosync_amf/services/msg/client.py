"""MSG as an application uses it.

Source: SAI-AIS-MSG-B.03.01.
"""

from typing import ClassVar

from corosync_amf.engine import Service
from corosync_amf.service import SUPPORTED, Opening, ServiceClient

from . import messages as m
from .values import Callback


class MsgService(ServiceClient):
    """A session with the service. Get it with `initialize`; iterate over it for its events."""

    service: ClassVar[Service] = Service.MSG
    versions: ClassVar[tuple[str, ...]] = SUPPORTED["MSG"]
    callback = Callback
    event_type = m.MsgEvent


def initialize(*, retry: bool = True, address: str | None = None) -> Opening[MsgService]:
    """Open a session: enter or await the result."""
    return MsgService.opening(retry=retry, address=address)
