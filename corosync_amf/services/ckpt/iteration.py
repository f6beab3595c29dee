"""The iteration over the sections of a checkpoint."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Self

import anyio
import anyio.lowlevel
import msgspec

from corosync_amf.errors import BadHandle, NoSections

from .messages import ListSections, Sections
from .values import SectionDescriptor

READ_AHEAD: Final = 256


class SectionIterator:
    """Over the sections that were there when it was made; those deleted since are left out.

    `next` asks each time. As an async iterator it reads up to 256 sections ahead, and anew after a deletion through
    this session.
    """

    def __init__(
        self, ask: Callable[[ListSections], Awaitable[Sections]], query: ListSections, deletions: Callable[[], int]
    ) -> None:
        """For `Checkpoint.section_iteration_initialize`. `deletions` counts those made through the same session; it
        raises BadHandle when the handle is closed.
        """
        self._ask = ask
        self._query = query
        self._count_deletions = deletions
        self._ahead: deque[tuple[int, SectionDescriptor]] = deque()
        self._after = 0
        self._deletions = deletions()
        self._is_open = True
        self._reading = anyio.Lock()

    async def next(self) -> SectionDescriptor:
        """The next section.

        Raises: NoSections (SA_AIS_ERR_NO_SECTIONS): at the end; NotExist: no active replica; BadHandle.
        Source: saCkptSectionIterationNext.
        """
        return await self._take(1)

    async def finalize(self) -> None:
        """End the iteration. Source: saCkptSectionIterationFinalize."""
        self._check()
        self._is_open = False
        self._ahead.clear()
        await anyio.lowlevel.checkpoint()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SectionDescriptor:
        try:
            return await self._take(READ_AHEAD)
        except NoSections:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        self._check()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._is_open = False

    def _check(self) -> None:
        if not self._is_open:
            raise BadHandle("the iteration is finalized")
        self._count_deletions()

    async def _take(self, count: int) -> SectionDescriptor:
        self._check()
        if count > 1 and self._ahead and self._deletions == self._count_deletions():
            return self._first()
        async with self._reading:  # one at a time, or several tasks would get the same section
            self._check()
            return await self._read_on(count)

    async def _read_on(self, count: int) -> SectionDescriptor:
        ahead, deletions = self._ahead, self._count_deletions()
        if count == 1 or self._deletions != deletions:
            ahead.clear()
        if not ahead:
            self._deletions = deletions
            page = await self._ask(msgspec.structs.replace(self._query, after=self._after, count=count))
            ahead.extend(zip(page.births, page.descriptors, strict=True))
        if not ahead:
            raise NoSections("no further section")
        return self._first()

    def _first(self) -> SectionDescriptor:
        self._after, descriptor = self._ahead.popleft()
        return descriptor
