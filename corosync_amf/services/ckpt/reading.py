"""Reading more than one frame holds: the whole content at one moment, and the sections page by page."""

from typing import Final

from corosync_amf.errors import Interrupt, InvalidParam

from .messages import Content, ListSections, Sections
from .store import Checkpoint, Handle, Section
from .values import SectionsChosen

PAGE_BYTES: Final = 4 * 1024 * 1024
SECTION_OVERHEAD_BYTES: Final = 16
PAGE_COUNT_MAX: Final = 4096


class Reader:
    """Answers long reads of this node's clients.

    What does not fit the first answer is kept, as it was at that moment, until it is fetched, the handle is closed,
    or another long read begins on it. This is no replicated state: it copies nothing that does not change in place.
    """

    def __init__(self) -> None:
        self._rest: dict[Handle, tuple[int, int | None, list[tuple[bytes, bytes]]]] = {}

    def start(self, handle: Handle) -> Content:
        """The content now, or as much of it as fits."""
        checkpoint = handle.checkpoint
        items = [(section.section_id, bytes(section.data)) for section in checkpoint.sections.values()]
        items.reverse()  # pages are taken off the end
        return self._page(handle, checkpoint.sequence, checkpoint.fence, items)

    def more(self, handle: Handle) -> Content:
        """What the answer before left out. Raises: Interrupt: nothing is kept; begin again."""
        try:
            sequence, fence, items = self._rest.pop(handle)
        except KeyError:
            raise Interrupt("the long read must begin again") from None
        return self._page(handle, sequence, fence, items)

    def forget(self, handle: Handle) -> None:
        """The handle was closed."""
        self._rest.pop(handle, None)

    def _page(self, handle: Handle, sequence: int, fence: int | None, items: list[tuple[bytes, bytes]]) -> Content:
        page: list[tuple[bytes, bytes]] = []
        room = PAGE_BYTES
        while items and (not page or room > 0):
            item = items.pop()
            room -= len(item[0]) + len(item[1]) + SECTION_OVERHEAD_BYTES
            if page and room < 0:
                items.append(item)
                break
            page.append(item)
        self._rest.pop(handle, None)
        if items:
            self._rest[handle] = (sequence, fence, items)
        return Content(sequence, fence, page, bool(items))

    def page(self, checkpoint: Checkpoint, query: ListSections) -> Sections:
        """The next descriptors of an iteration. Raises: InvalidParam: LEQ or GEQ without a time."""
        chosen, time = query.chosen, query.expiration_time
        if time is None and chosen in (SectionsChosen.LEQ_EXPIRATION_TIME, SectionsChosen.GEQ_EXPIRATION_TIME):
            raise InvalidParam("the choice needs an expiration_time")
        checkpoint.check_replica()
        until = checkpoint.births if query.until is None else query.until
        count = max(0, min(query.count, PAGE_COUNT_MAX))
        sections: list[Section] = []
        for section in checkpoint.born_between(query.after, until):
            if len(sections) >= count:
                break
            if section.is_chosen(chosen, time):
                sections.append(section)
        return Sections([section.descriptor() for section in sections], [section.born for section in sections], until)
