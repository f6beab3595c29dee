"""What stands in a journal of persistent checkpoints. Each entry names its checkpoint: names are theirs alone.

A journal begins with what is known to be gone (Ended) and the whole content (Begun and Content for each checkpoint);
then the changes follow in their order.
"""

import msgspec

from .messages import Attributes, SectionRecord
from .values import SectionChange


class Entry(msgspec.Struct, frozen=True, tag=True, array_like=True, forbid_unknown_fields=True):
    """One record."""

    name: str


class Begun(Entry, frozen=True):
    """A checkpoint without content. `born` is its creation's place in the order: what was made later has more."""

    born: int
    attributes: Attributes


class Content(Entry, frozen=True):
    """Further sections, as they were after change number `sequence`."""

    sequence: int
    births: int
    fence: int | None
    sections: list[SectionRecord]


class Changed(Entry, frozen=True):
    """Change number `sequence`; without changes only the fence is new."""

    sequence: int
    fence: int | None
    time: float
    changes: tuple[SectionChange, ...]


class Expires(Entry, frozen=True):
    """A section has another expiration time."""

    section_id: bytes
    time: float | None


class Retains(Entry, frozen=True):
    """The checkpoint has another retention duration."""

    duration: float | None


class Ended(Entry, frozen=True):
    """The checkpoint is gone, or has lost its name."""

    born: int


JournalEntry = Begun | Content | Changed | Expires | Retains | Ended
