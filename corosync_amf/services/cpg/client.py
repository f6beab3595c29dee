"""CPG as an application uses it.

Source: cpg.h of corosync.
"""

from typing import ClassVar

from corosync_amf.engine import Service
from corosync_amf.service import Opening, ServiceClient

from . import messages as m
from .values import Callback


class CpgService(ServiceClient):
    """A session with the service. Get it with `initialize`; iterate over it for its events."""

    service: ClassVar[Service] = Service.CPG
    versions: ClassVar[tuple[str, ...]] = ()
    callback = Callback
    event_type = m.CpgEvent


def initialize(*, retry: bool = True, address: str | None = None) -> Opening[CpgService]:
    """Open a session: enter or await the result."""
    return CpgService.opening(retry=retry, address=address)
