"""Reading what was sent before.

Source: SAI-AIS-NTF-A.03.01, saNtfNotificationReadInitialize, ...ReadNext, ...ReadFinalize.
"""

from collections import deque
from typing import TYPE_CHECKING, Final, Self

import anyio.lowlevel

from corosync_amf.errors import BadHandle, NotExist
from corosync_amf.service import check_enum
from corosync_amf.wire import decode

from .arguments import notification_of
from .messages import Page, Read
from .records import Record, Search, Terms
from .values import Notification
from .vocabulary import Direction

if TYPE_CHECKING:
    from .client import NtfService

AHEAD: Final = 32
"""Notifications that are fetched at a time."""


class Reader:
    """Goes through the notifications that are kept, in the order of their event times; get it with
    `NtfService.notification_read_initialize`.

    What it looks at are those that the search and one of the filters match. `async for` goes from the oldest to the
    youngest. It reads the local replica, and sees what is sent meanwhile.
    """

    def __init__(self, service: "NtfService", search: Search, filters: tuple[Terms, ...]) -> None:
        """For `notification_read_initialize`."""
        self._service = service
        self._search = search
        self._filters = filters
        self._place: tuple[float, int] | None = None
        self._direction = Direction.YOUNGER
        self._fetched: deque[tuple[float, int, bytes]] = deque()
        self.is_open = True

    async def next(self, direction: Direction = Direction.YOUNGER) -> Notification:
        """The next notification in this direction: from the one that was read last, or at first from the other end
        (YOUNGER: the oldest one; OLDER: the youngest one).

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): no further one (yet); InvalidParam: no direction; BadHandle: finalized.
        Source: saNtfNotificationReadNext_3.
        """
        self._check()
        wanted = check_enum(direction, Direction, "direction")
        if wanted is not self._direction:
            self._fetched.clear()
            self._direction = wanted
        if not self._fetched:
            await self._fetch()
        else:
            await anyio.lowlevel.checkpoint()
        if not self._fetched:
            raise NotExist(f"no further notification that is {wanted.name.lower()}")
        time, identifier, data = self._fetched.popleft()
        self._place = (time, identifier)
        return notification_of(decode(data, Record))

    async def _fetch(self) -> None:
        after = self._place
        while True:
            query = Read(self._search, self._filters, self._direction, after, AHEAD)
            page = await self._service.ask(query, Page)
            self._check()
            if page.items or page.is_over:
                self._fetched.extend(page.items)
                return
            after = page.reached

    async def finalize(self) -> None:
        """End reading. Raises: BadHandle (SA_AIS_ERR_BAD_HANDLE): done already.

        Source: saNtfNotificationReadFinalize.
        """
        self._check()
        self.is_open = False
        self._fetched.clear()
        await anyio.lowlevel.checkpoint()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notification:
        try:
            return await self.next(Direction.YOUNGER)
        except NotExist:
            raise StopAsyncIteration from None

    def _check(self) -> None:
        if not self.is_open:
            raise BadHandle("the reader is finalized")
        self._service.check_open()
