"""LCK as an application uses it.

Source: SAI-AIS-LCK-B.03.01.
"""

from typing import ClassVar

from corosync_amf.engine import Service
from corosync_amf.service import SUPPORTED, Opening, ServiceClient

from . import messages as m
from .values import Callback


class LckService(ServiceClient):
    """A session with the service. Get it with `initialize`; iterate over it for its events."""

    service: ClassVar[Service] = Service.LCK
    versions: ClassVar[tuple[str, ...]] = SUPPORTED["LCK"]
    callback = Callback
    event_type = m.LckEvent


def initialize(*, retry: bool = True, address: str | None = None) -> Opening[LckService]:
    """Open a session: enter or await the result."""
    return LckService.opening(retry=retry, address=address)
