"""NTF as an application uses it.

Source: SAI-AIS-NTF-A.03.01.
"""

from typing import ClassVar

from corosync_amf.engine import Service
from corosync_amf.service import SUPPORTED, Opening, ServiceClient

from . import messages as m
from .values import Callback


class NtfService(ServiceClient):
    """A session with the service. Get it with `initialize`; iterate over it for its events."""

    service: ClassVar[Service] = Service.NTF
    versions: ClassVar[tuple[str, ...]] = SUPPORTED["NTF"]
    callback = Callback
    event_type = m.NtfEvent


def initialize(*, retry: bool = True, address: str | None = None) -> Opening[NtfService]:
    """Open a session: enter or await the result."""
    return NtfService.opening(retry=retry, address=address)
