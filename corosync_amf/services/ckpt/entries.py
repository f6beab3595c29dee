"""What stands in a journal of persistent checkpoints. Each entry names its checkpoint: names are theirs alone.

A journal begins with the whole content (Begun and Content for each checkpoint), then the changes follow in their order;
behind each step stands how far it has come (Reached).
"""

import msgspec

from .messages import Attributes, SectionRecord, Version
from .values import SectionChange


class Record(msgspec.Struct, frozen=True, tag=True, array_like=True, forbid_unknown_fields=True):
    """What a journal is made of."""


class Reached(Record, frozen=True):
    """What stands before this is all that there was at this version."""

    version: Version


class Entry(Record, frozen=True):
    """Something about one checkpoint."""

    name: str


class Begun(Entry, frozen=True):
    """A checkpoint without content."""

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


JournalEntry = Begun | Content | Changed | Expires | Retains | Ended | Reached
