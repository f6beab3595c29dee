"""EVS as an application uses it.

Source: evs.h of corosync.
"""

from typing import ClassVar

from corosync_amf.engine import Service
from corosync_amf.service import Opening, ServiceClient

from . import messages as m
from .values import Callback


class EvsService(ServiceClient):
    """A session with the service. Get it with `initialize`; iterate over it for its events."""

    service: ClassVar[Service] = Service.EVS
    versions: ClassVar[tuple[str, ...]] = ()
    callback = Callback
    event_type = m.EvsEvent


def initialize(*, retry: bool = True, address: str | None = None) -> Opening[EvsService]:
    """Open a session: enter or await the result."""
    return EvsService.opening(retry=retry, address=address)
