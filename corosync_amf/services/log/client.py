"""LOG as an application uses it.

Source: SAI-AIS-LOG-A.02.01.
"""

from typing import ClassVar

from corosync_amf.engine import Service
from corosync_amf.service import SUPPORTED, Opening, ServiceClient

from . import messages as m
from .values import Callback


class LogService(ServiceClient):
    """A session with the service. Get it with `initialize`; iterate over it for its events."""

    service: ClassVar[Service] = Service.LOG
    versions: ClassVar[tuple[str, ...]] = SUPPORTED["LOG"]
    callback = Callback
    event_type = m.LogEvent


def initialize(*, retry: bool = True, address: str | None = None) -> Opening[LogService]:
    """Open a session: enter or await the result."""
    return LogService.opening(retry=retry, address=address)
