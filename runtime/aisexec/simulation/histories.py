"""What members of a group were told, and what must hold of it: extended virtual synchrony as clients see it. Pure."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from corosync_amf.ais import NodeId


@dataclass(frozen=True, slots=True)
class View:
    """A configuration; equal ones are the same one. `is_late`: this member may have come in the middle of it.

    `is_cut`: nodes came or went. Those that go different ways then may have differed since the one before.
    """

    key: Hashable
    is_transitional: bool = False
    is_late: bool = field(default=False, compare=False)
    is_cut: bool = field(default=True, compare=False)


@dataclass(slots=True)
class Life:
    """A membership of one client, from its join until it left, was lost, or the run ended.

    `log` holds views, and the names of messages, as they came; `sent` the names of messages in their order.
    """

    name: str
    node: NodeId
    log: list[View | bytes] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    safe: set[bytes] = field(default_factory=set)
    has_left: bool = False
    is_lost: bool = False

    @property
    def is_alive(self) -> bool:
        return not self.has_left and not self.is_lost

    def own(self) -> list[bytes]:
        """Its own messages that came back."""
        mine = set(self.sent)
        return [entry for entry in self.log if isinstance(entry, bytes) and entry in mine]

    def stays(self) -> list["Stay"]:
        """What it was told, cut at its regular views."""
        stays: list[Stay] = []
        for entry in self.log:
            if isinstance(entry, View) and not entry.is_transitional:
                if stays:
                    stays[-1].following = entry
                stays.append(Stay(entry))
            elif stays and isinstance(entry, View):
                stays[-1].transitional = entry
            elif stays and isinstance(entry, bytes):
                stays[-1].messages.append(entry)
                if stays[-1].transitional is None:
                    stays[-1].before.add(entry)
        return stays


@dataclass(slots=True)
class Stay:
    """A member's time in one view: all messages, those `before` the transitional view, and what came after it."""

    view: View
    messages: list[bytes] = field(default_factory=list)
    before: set[bytes] = field(default_factory=set)
    transitional: View | None = None
    following: View | None = None


def faults_of(lives: Sequence[Life]) -> list[str]:
    """What is wrong, in words."""
    return [*_one_by_one(lives), *_same_messages(lives), *_safe_is_safe(lives)]


def _one_by_one(lives: Iterable[Life]) -> Iterable[str]:
    for life in lives:
        if life.log and not isinstance(life.log[0], View):
            yield f"{life.name} got a message before any configuration"
        counts = Counter(entry for entry in life.log if isinstance(entry, bytes))
        if twice := [name for name, count in counts.items() if count > 1]:
            yield f"{life.name} got {twice[0]!r} more than once"
        own = life.own()
        expected = life.sent if not life.is_lost else life.sent[: len(own)]
        if own != expected:
            place = next(place for place, pair in enumerate(zip_longest(own, expected)) if pair[0] != pair[1])
            sent, got = expected[place : place + 3], own[place : place + 3]
            yield f"{life.name} sent {sent}, and of its own messages it got {got}"


def _same_messages(lives: Iterable[Life]) -> Iterable[str]:
    """Between the same two views the same messages in the same order, for those that go on together at the next cut;
    who came late has the end of them. Where in between the transitional view stands depends on what each member knew
    to be safe.
    """
    seen: dict[Hashable, list[tuple[Life, Stay]]] = {}
    for life in lives:
        times: Counter[Hashable] = Counter()
        stays = life.stays()
        for index, stay in enumerate(stays):
            cut = next((each.following for each in stays[index:] if each.following and each.following.is_cut), None)
            if cut is not None or life.is_alive:
                step = (stay.view, stay.transitional, stay.following, cut)
                times[step] += 1
                seen.setdefault((step, times[step]), []).append((life, stay))
    for found in seen.values():
        found.sort(key=lambda each: (each[1].view.is_late, -len(each[1].messages)))
        whole, most = found[0][0], found[0][1].messages
        for life, stay in found[1:]:
            messages = stay.messages
            if (most[len(most) - len(messages) :] if stay.view.is_late else most) != messages:
                differing = sorted(set(most) ^ set(messages))[:3] or "another order"
                yield f"from {stay.view} to {stay.following} {whole.name} and {life.name} differ in {differing}"


def _safe_is_safe(lives: Sequence[Life]) -> Iterable[str]:
    """What is delivered as safe in a regular view, every member gets that moves on from it, before its next one."""
    safe = {name for life in lives for name in life.safe}
    delivered: dict[View, dict[bytes, Life]] = {}
    for life in lives:
        for stay in life.stays():
            delivered.setdefault(stay.view, {}).update((name, life) for name in stay.before if name in safe)
    for life in lives:
        for stay in life.stays():
            if not stay.view.is_late and (stay.following is not None or life.is_alive):
                for name, other in delivered[stay.view].items():
                    if name not in stay.messages:
                        yield f"{other.name} got {name!r} as safe in {stay.view}; {life.name} moved on without it"
