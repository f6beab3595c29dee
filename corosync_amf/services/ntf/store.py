"""The notifications that are kept for readers, and the alarms that are not over. Pure."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from corosync_amf.errors import InvalidParam
from corosync_amf.wire import decode

from .messages import KeptRecord, Page, Read, UnclearedRecord
from .records import AlarmFacts, ClassTriple, Record, Selection, check_filters, check_search
from .values import KEPT_MAX
from .vocabulary import Direction, SearchMode, Severity

KEPT_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of alarms, and of all others: fewer are kept when they are big."""
PAGE_MAX: Final = 64
PAGE_BYTES_MAX: Final = 256 * 1024
LOOK_MAX: Final = 2000
"""So many are looked at for one page."""
BROUGHT_BYTES_MAX: Final = 8 * 1024 * 1024
"""What a node brings along from a partition that gave way."""

Place = tuple[float, int]
"""(time, id): the order in which readers see notifications."""
_ID_MAX: Final = 2**64


@dataclass(slots=True)
class Kind:
    """Alarms, or all others: their ids in ascending order, and how many bytes they are."""

    identifiers: list[int]
    size: int = 0


class Store:
    """See the module. `arrivals` counts everything that ever came in."""

    def __init__(self, kept: Iterable[KeptRecord] = (), arrivals: int = 0) -> None:
        self.arrivals = arrivals
        self._kept = {record.identifier: record for record in kept}
        self._places = sorted([(record.time, record.identifier) for record in self._kept.values()])
        self._kinds = {is_alarm: self._kind(is_alarm) for is_alarm in (True, False)}

    def _kind(self, is_alarm: bool) -> Kind:
        these = [record for record in self._kept.values() if record.is_alarm is is_alarm]
        return Kind(sorted([record.identifier for record in these]), sum([len(record.data) for record in these]))

    def __contains__(self, identifier: int) -> bool:
        return identifier in self._kept

    def add(self, identifier: int, time: float, is_alarm: bool, data: bytes, *, is_brought: bool = False) -> list[int]:
        """Keep a notification; returned are the ids of those that have to go for it."""
        self.arrivals += 1
        self._kept[identifier] = KeptRecord(identifier, time, self.arrivals, is_alarm, data, is_brought)
        insort(self._places, (time, identifier))
        kind = self._kinds[is_alarm]
        insort(kind.identifiers, identifier)
        kind.size += len(data)
        gone: list[int] = []
        while len(kind.identifiers) > KEPT_MAX or kind.size > KEPT_BYTES_MAX:
            gone.append(self._drop_oldest(kind))
        return gone

    def _drop_oldest(self, kind: Kind) -> int:
        identifier = kind.identifiers.pop(0)
        record = self._kept.pop(identifier)
        kind.size -= len(record.data)
        del self._places[bisect_left(self._places, (record.time, identifier))]
        return identifier

    def records(self) -> list[KeptRecord]:
        """All, in order of their ids."""
        return [self._kept[identifier] for identifier in sorted(self._kept)]

    def since(self, arrival: int) -> list[KeptRecord]:
        """What came in after `arrival`, in order of the ids; the newest when that is too much."""
        size, chosen = 0, []
        for identifier in sorted(self._kept, reverse=True):
            record = self._kept[identifier]
            if record.arrival > arrival:
                size += len(record.data)
                if size > BROUGHT_BYTES_MAX:
                    break
                chosen.append(record)
        return chosen[::-1]

    def sent_since(self, arrival: int) -> list[bytes]:
        """What was sent in this state after `arrival`, in that order, encoded."""
        sent = [record for record in self._kept.values() if record.arrival > arrival and not record.is_brought]
        return [record.data for record in sorted(sent, key=_arrival_of)]

    # ---- reading

    def page(self, wanted: Read) -> Page:
        """Some of what is wanted. Raises: InvalidParam; NoResources: too many filters."""
        mode = check_search(wanted.search)
        check_filters(wanted.filters, needed=False)
        if wanted.direction not in (Direction.OLDER, Direction.YOUNGER):
            raise InvalidParam(f"{wanted.direction} is no direction")
        first, end = self._range(mode, wanted)
        is_up = wanted.direction == Direction.YOUNGER
        count, selection = min(max(wanted.count, 1), PAGE_MAX), Selection(wanted.filters)
        items: list[tuple[float, int, bytes]] = []
        reached, size = wanted.place, 0
        positions = range(first, end) if is_up else range(end - 1, first - 1, -1)
        for looked, position in enumerate(positions):
            if len(items) == count or looked == LOOK_MAX or size > PAGE_BYTES_MAX:
                return Page(items, reached, False)
            time, identifier = reached = self._places[position]
            data = self._kept[identifier].data
            if selection.is_everything or selection.has(decode(data, Record)):
                items.append((time, identifier, data))
                size += len(data)
        return Page(items, reached, True)

    def _range(self, mode: SearchMode, wanted: Read) -> tuple[int, int]:
        """The positions to look at: from the first to before the end."""
        places, search = self._places, wanted.search
        first, end = 0, len(places)
        if mode is SearchMode.NOTIFICATION_ID:
            record = self._kept.get(search.identifier or 0)
            first = bisect_left(places, (record.time, record.identifier)) if record is not None else end
            end = first + 1 if record is not None else end
        elif mode is not SearchMode.ONLY_FILTER:
            assert search.event_time is not None
            before, after = (
                bisect_left(places, (search.event_time, -1)),
                bisect_right(places, (search.event_time, _ID_MAX)),
            )
            match mode:
                case SearchMode.BEFORE_OR_AT_TIME:
                    end = after
                case SearchMode.AT_TIME:
                    first, end = before, after
                case SearchMode.AT_OR_AFTER_TIME:
                    first = before
                case SearchMode.BEFORE_TIME:
                    end = before
                case _:
                    first = after
        if wanted.place is not None and wanted.direction == Direction.YOUNGER:
            first = max(first, bisect_right(places, wanted.place))
        elif wanted.place is not None:
            end = min(end, bisect_left(places, wanted.place))
        return first, end


class Uncleared:
    """The alarms that are not over: for each object and class, by probable cause."""

    def __init__(self, records: Iterable[UnclearedRecord] = ()) -> None:
        self._raised: dict[tuple[str, ClassTriple], dict[int, int]] = {}
        self._keys: dict[int, tuple[str, ClassTriple]] = {}
        for record in records:
            self._raise((record.notification_object, record.class_id), record.probable_cause, record.identifier)

    def ended_by(self, record: Record) -> int:
        """The alarm that a CLEARED one ends: that of its cause, else the last one; 0: there is none."""
        facts = record.facts
        raised = self._raised.get((record.notification_object, record.class_id))
        if raised is None or not isinstance(facts, AlarmFacts):
            return 0
        return raised.get(facts.probable_cause, 0) or max(raised.values())

    def note(self, record: Record) -> None:
        """An alarm was raised, or is over."""
        facts = record.facts
        if not isinstance(facts, AlarmFacts):
            return
        if facts.severity == Severity.CLEARED:
            for identifier in record.correlated:
                self.forget(identifier)
        else:
            self._raise((record.notification_object, record.class_id), facts.probable_cause, record.identifier)

    def forget(self, identifier: int) -> None:
        """It is over, or no longer kept."""
        key = self._keys.pop(identifier, None)
        if key is not None:
            raised = {cause: each for cause, each in self._raised[key].items() if each != identifier}
            self._raised[key] = raised
            if not raised:
                del self._raised[key]

    def _raise(self, key: tuple[str, ClassTriple], cause: int, identifier: int) -> None:
        raised = self._raised.setdefault(key, {})
        former = raised.get(cause, 0)
        if former < identifier:
            self._keys.pop(former, None)
            raised[cause] = identifier
            self._keys[identifier] = key

    def records(self) -> list[UnclearedRecord]:
        """All, in a canonical order."""
        return sorted(
            UnclearedRecord(*key, cause, identifier)
            for key, raised in self._raised.items()
            for cause, identifier in raised.items()
        )


def _arrival_of(record: KeptRecord) -> int:
    return record.arrival
