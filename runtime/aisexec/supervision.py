"""Healthchecks and process monitoring of this node's components: who must answer until when. Pure.

    agent --Asked, ClientEnded, Begun, Over, Monitored, Checked, ProcessEnded, Freeze, Thaw-->  Supervision
    Supervision --Answer, Tell, Report, RunCheck, Watch, Unwatch-->  agent

Nothing of this passes the total order but the faults. A component that was found faulty is not supervised any more:
its successor begins anew, so that one fault is reported once.

Source: SAI-AIS-AMF-B.04.01 section 7.1.2 (healthchecks) and 7.1.4 (passive monitoring).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from corosync_amf.ais import Dn, ErrorCode, Recovery
from corosync_amf.engine import Done, Failed, Message
from corosync_amf.services.amf.messages import (
    HEALTHCHECK_INVOCATION,
    AmfNodeLocal,
    FaultDetected,
    HealthcheckConfirm,
    HealthcheckInvoked,
    HealthcheckResponse,
    HealthcheckStart,
    HealthcheckStop,
    InvocationType,
    Kind,
    PmErrors,
    PmStart,
    PmStop,
)
from corosync_amf.services.amf.model import Component, Healthcheck

from .watches import Unwatch, Watch, Watches

LATE_SECONDS: Final = 0.25
"""When the executive itself looks this much too late, the answer may be waiting to be read: it gets this long again."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A client's question. For PmStart `is_alive` and `is_own` say whether its process exists and is of its user."""

    client: int
    request: int
    message: AmfNodeLocal
    is_alive: bool = True
    is_own: bool = True


@dataclass(frozen=True, slots=True)
class ClientEnded:
    """A client's connection has ended; what it started goes with it."""

    client: int


@dataclass(frozen=True, slots=True)
class Begun:
    """A new instance of a component is being started."""

    component: Dn
    instance: int


@dataclass(frozen=True, slots=True)
class Over:
    """The component is being ended: its silence is no fault any more."""

    component: Dn


@dataclass(frozen=True, slots=True)
class Monitored:
    """The component is instantiated: its healthcheck command, if it has one, is to be run each period."""

    component: Dn
    instance: int


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of `RunCheck`."""

    component: Dn
    instance: int
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    """The process `root` of a `Watch`, or a descendant of it, has ended; `how` None: that cannot be known."""

    root: int
    pid: int
    how: PmErrors | None


@dataclass(frozen=True, slots=True)
class Freeze:
    """The lease is over, components stand still: no deadline of theirs runs."""

    components: frozenset[Dn]


@dataclass(frozen=True, slots=True)
class Thaw:
    """They go on."""


SupervisionEvent = Asked | ClientEnded | Begun | Over | Monitored | Checked | ProcessEnded | Freeze | Thaw


@dataclass(frozen=True, slots=True)
class Answer:
    """Reply to a client's question."""

    client: int
    request: int
    message: Message


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a client an event."""

    client: int
    message: Message


@dataclass(frozen=True, slots=True)
class Report:
    """Put this into the total order."""

    fault: FaultDetected


@dataclass(frozen=True, slots=True)
class RunCheck:
    """Run the component's healthcheck command; answer with `Checked` of this instance."""

    component: Dn
    instance: int
    timeout: float


SupervisionEffect = Answer | Tell | Report | RunCheck | Watch | Unwatch


@dataclass(slots=True)
class _Check:
    """One healthcheck that runs. `deadline`: when AMF asks next, or (`is_awaited`) when the answer must have come."""

    configured: Healthcheck
    kind: InvocationType | None
    client: int
    recovery: Recovery
    deadline: float
    is_awaited: bool = False
    is_excused: bool = False
    invocation: int = 0


class Supervision:
    """See the module. `wall_offset` turns `now` into wall time for the reports."""

    def __init__(self, components: Mapping[Dn, Component], wall_offset: float = 0.0) -> None:
        self._components = components
        self._wall_offset = wall_offset
        self._instances: dict[Dn, int] = {}
        self._checks: dict[tuple[Dn, str], _Check] = {}
        self._watches = Watches()
        self._invocations: dict[int, tuple[Dn, str]] = {}
        self._last_invocation = HEALTHCHECK_INVOCATION
        self._frozen: frozenset[Dn] = frozenset()
        self._frozen_at = 0.0
        self._effects: list[SupervisionEffect] = []

    # ---- the machine

    def handle(self, event: SupervisionEvent, now: float) -> list[SupervisionEffect]:
        match event:
            case Asked(client, request, message):
                self._effects.append(Answer(client, request, self._asked(event, message, now)))
            case ClientEnded(client):
                self._client_ended(client)
            case Begun(component, instance):
                self._drop(component)
                self._instances[component] = instance
            case Over(component):
                self._drop(component)
            case Monitored(component, instance):
                self._monitored(component, instance, now)
            case Checked():
                self._checked(event, now)
            case ProcessEnded():
                self._process_ended(event, now)
            case Freeze(components):
                self._frozen, self._frozen_at = components, now
            case Thaw():
                self._thaw(now)
            case _:
                assert_never(event)
        return self._empty()

    def wake(self, now: float) -> list[SupervisionEffect]:
        for (component, key), check in list(self._checks.items()):
            if component not in self._frozen and check.deadline <= now and self._checks.get((component, key)) is check:
                self._due(component, key, check, now)
        return self._empty()

    def next_deadline(self) -> float | None:
        deadlines = [check.deadline for (component, _), check in self._checks.items() if component not in self._frozen]
        earliest = min(deadlines, default=float("inf"))
        return None if earliest == float("inf") else earliest

    def _empty(self) -> list[SupervisionEffect]:
        effects, self._effects = self._effects + self._watches.effects(), []
        return effects

    # ---- healthchecks

    def _asked(self, event: Asked, message: AmfNodeLocal, now: float) -> Message:
        client = event.client
        match message:
            case HealthcheckStart():
                return self._start(client, message, now)
            case HealthcheckConfirm():
                return self._confirm(client, message, now)
            case HealthcheckResponse():
                return self._response(client, message, now)
            case HealthcheckStop(component, key):
                if self._forget(component, key) is None:
                    return _not_exist(f"healthcheck {key} of {component} is not running")
                return Done()
            case PmStart():
                return self._pm_start(event, message)
            case PmStop():
                return self._watches.stop(client, message)
            case _:
                assert_never(message)

    def _start(self, client: int, message: HealthcheckStart, now: float) -> Message:
        component, key = message.component, message.key
        if component not in self._components:
            return _not_exist(f"there is no component {component}")
        known = {check.name: check for check in self._components[component].healthchecks}
        if key not in known:
            return _not_exist(f"{component} has no healthcheck {key}; configured: {', '.join(known) or 'none'}")
        if (component, key) in self._checks:
            return Failed(ErrorCode.EXIST, f"healthcheck {key} of {component} is running")
        check = _Check(known[key], message.invocation_type, client, message.recovery, now)
        self._checks[component, key] = check
        if check.kind is InvocationType.AMF_INVOKED:
            self._invoke(component, key, check, now)
        else:
            self._await(check, now + check.configured.period)
        return Done()

    def _invoke(self, component: Dn, key: str, check: _Check, now: float) -> None:
        """Ask the component, or run its command."""
        self._await(check, now + check.configured.max_duration)
        if check.kind is None:
            timeout = check.configured.max_duration
            self._effects.append(RunCheck(component, self._instances.get(component, 0), timeout))
            check.deadline = float("inf")  # whoever runs it keeps the time
            return
        self._last_invocation += 1
        check.invocation = self._last_invocation
        self._invocations[check.invocation] = (component, key)
        self._effects.append(Tell(check.client, HealthcheckInvoked(check.invocation, component, key)))

    def _await(self, check: _Check, deadline: float) -> None:
        check.deadline, check.is_awaited, check.is_excused = deadline, True, False

    def _confirm(self, client: int, message: HealthcheckConfirm, now: float) -> Message:
        check = self._checks.get((message.component, message.key))
        if check is None or check.kind is None:
            return _not_exist(f"healthcheck {message.key} of {message.component} is not running")
        if check.kind is not InvocationType.COMPONENT_INVOKED:
            return Failed(ErrorCode.INVALID_PARAM, f"healthcheck {message.key} is invoked by AMF: answer it instead")
        if check.client != client:
            return Failed(ErrorCode.INVALID_PARAM, f"healthcheck {message.key} was started by another process")
        if message.result == ErrorCode.OK:
            self._await(check, now + check.configured.period)
        else:
            detail = f"healthcheck {message.key}: the component says error {message.result}"
            self._fault(message.component, Kind.HEALTHCHECK_FAILED, check.recovery, detail, now)
        return Done()

    def _response(self, client: int, message: HealthcheckResponse, now: float) -> Message:
        found = self._invocations.get(message.invocation)
        check = self._checks.get(found) if found is not None else None
        if found is None or check is None or check.client != client:
            return Failed(ErrorCode.INVALID_PARAM, f"invocation {message.invocation} is unknown, or answered already")
        del self._invocations[message.invocation]
        if message.error == ErrorCode.TIMEOUT:  # the component found that by itself
            self._timeout(found[0], found[1], check, now)
        else:
            self._answered(found[0], found[1], check, message.error == ErrorCode.OK, f"error {message.error}", now)
        return Done()

    def _answered(self, component: Dn, key: str, check: _Check, ok: bool, detail: str, now: float) -> None:
        if ok:
            check.is_awaited, check.deadline = False, now + check.configured.period
        else:
            text = f"healthcheck {key}: {detail}" if key else f"healthcheck command: {detail}"
            self._fault(component, Kind.HEALTHCHECK_FAILED, check.recovery, text, now)

    def _monitored(self, component: Dn, instance: int, now: float) -> None:
        configured = self._components.get(component)
        if configured is None or configured.healthcheck_command is None:
            return
        self._instances[component] = instance
        first = next(iter(configured.healthchecks), Healthcheck(dn=component, name=""))
        check = _Check(first, None, 0, Recovery.NO_RECOMMENDATION, now + first.period)
        self._checks[component, ""] = check

    def _checked(self, event: Checked, now: float) -> None:
        check = self._checks.get((event.component, ""))
        if check is None or not check.is_awaited or self._instances.get(event.component) != event.instance:
            return
        if event.component in self._frozen:
            check.is_awaited, check.deadline = False, now  # what a component that stands still says means nothing
        elif not event.ok and event.detail == "timeout":
            self._timeout(event.component, "", check, now)
        else:
            self._answered(event.component, "", check, event.ok, event.detail, now)

    def _due(self, component: Dn, key: str, check: _Check, now: float) -> None:
        if not check.is_awaited:
            self._invoke(component, key, check, now)
        elif now - check.deadline > LATE_SECONDS and not check.is_excused:
            check.deadline, check.is_excused = now + LATE_SECONDS, True
        else:
            self._timeout(component, key, check, now)

    def _timeout(self, component: Dn, key: str, check: _Check, now: float) -> None:
        limit = check.configured
        what = f"healthcheck {key}" if key else "healthcheck command"
        if check.kind is InvocationType.COMPONENT_INVOKED:
            detail = f"{what}: not confirmed within {limit.period:g} s"
        else:
            detail = f"{what}: no answer within {limit.max_duration:g} s"
        self._fault(component, Kind.HEALTHCHECK_TIMEOUT, check.recovery, detail, now)

    def _forget(self, component: Dn, key: str) -> _Check | None:
        check = self._checks.pop((component, key), None) if key else None
        if check is not None:
            self._invocations.pop(check.invocation, None)
        return check

    def _thaw(self, now: float) -> None:
        stood = now - self._frozen_at
        for (component, _), check in self._checks.items():
            if component in self._frozen:
                check.deadline += stood
        self._frozen = frozenset()

    # ---- process monitoring

    def _pm_start(self, event: Asked, message: PmStart) -> Message:
        if message.component not in self._components:
            return _not_exist(f"there is no component {message.component}")
        if not event.is_alive:
            return _not_exist(f"there is no process {message.process_id}")
        if not event.is_own:
            return Failed(ErrorCode.ACCESS_DENIED, f"process {message.process_id} belongs to another user")
        return self._watches.start(event.client, message)

    def _process_ended(self, event: ProcessEnded, now: float) -> None:
        how = "in a way that cannot be known" if event.how is None else (event.how.name or "").lower().replace("_", " ")
        for watched in self._watches.ended(event.root, event.pid, event.how):
            detail = f"process {event.pid} has ended ({how})"
            self._fault(watched.component, Kind.PASSIVE_MONITORING, watched.recovery, detail, now)

    # ---- ends

    def _fault(self, component: Dn, kind: Kind, recovery: Recovery, detail: str, now: float) -> None:
        instance = self._instances.get(component, 0)
        self._effects.append(
            Report(FaultDetected(component, instance, kind, recovery, detail, now + self._wall_offset))
        )
        self._drop(component)

    def _drop(self, component: Dn) -> None:
        """Nothing of this instance is supervised any more."""
        for dn, key in [found for found in self._checks if found[0] == component]:
            check = self._checks.pop((dn, key))
            self._invocations.pop(check.invocation, None)
        self._watches.drop(component)
        self._frozen -= {component}

    def _client_ended(self, client: int) -> None:
        for component, key in [found for found, check in self._checks.items() if _is_of(check, client)]:
            self._forget(component, key)
        self._watches.client_ended(client)


def _is_of(check: _Check, client: int) -> bool:
    """Whether the client started the check."""
    return check.kind is not None and check.client == client


def _not_exist(reason: str) -> Failed:
    return Failed(ErrorCode.NOT_EXIST, reason)
