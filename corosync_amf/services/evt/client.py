"""EVT as an application uses it.

Source: SAI-AIS-EVT-B.03.01.
"""

from typing import ClassVar

from corosync_amf.engine import Service
from corosync_amf.service import SUPPORTED, Opening, ServiceClient

from . import messages as m
from .values import Callback


class EvtService(ServiceClient):
    """A session with the service. Get it with `initialize`; iterate over it for its events."""

    service: ClassVar[Service] = Service.EVT
    versions: ClassVar[tuple[str, ...]] = SUPPORTED["EVT"]
    callback = Callback
    event_type = m.EvtEvent


def initialize(*, retry: bool = True, address: str | None = None) -> Opening[EvtService]:
    """Open a session: enter or await the result."""
    return EvtService.opening(retry=retry, address=address)
