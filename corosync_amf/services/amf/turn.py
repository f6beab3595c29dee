"""One message's turn: the view, the message's place and time, and the effects gathered so far.

Everything that changes facts gets the turn. Alarms, callbacks, history lines and notifications have one maker each
here, so that their keys and formats stand in one place.
"""

from dataclasses import dataclass, field
from logging import ERROR, INFO, WARNING
from typing import Any, Final

import msgspec

from corosync_amf.ais import Dn, ErrorCode, HaState
from corosync_amf.engine import Alarm, Client, Effect, Event, Failed, Forward, Log, Message, Origin, Reply, Run, Service

from .facts import FAILOVERS_MAX, HISTORY_MAX, Callback, ComponentFact, Facts
from .messages import FailoverStatus, HistoryLine, Notification, TimeUp
from .model import Component, Index, ServiceUnit
from .notices import notice_of
from .states import View

CALLBACK: Final = "callback"
QUIESCING: Final = "quiescing"
INSTANTIATE: Final = "instantiate"
RETRY: Final = "retry"
STARTUP: Final = "startup"
TOLERANCE: Final = "tolerance"
REPAIR: Final = "repair"
OPERATION: Final = "operation"
UNASSIGNED: Final = "unassigned"
ADJUST: Final = "adjust"

TEXT_MAX: Final = 400
"""Characters kept of what somebody else says."""

INSTANTIATION_FAILED_ALARM: Final = 0x02
CLEANUP_FAILED_ALARM: Final = 0x03
CLUSTER_RESET_ALARM: Final = 0x04
SI_UNASSIGNED_ALARM: Final = 0x05
QUORUM_LOST_ALARM: Final = 0x401
FENCING_FAILED_ALARM: Final = 0x402
RESTART_STORM_ALARM: Final = 0x403


@dataclass(slots=True)
class Turn:
    """`order` and `time` as in `Origin`; `changed` is set by every change that may allow further decisions."""

    view: View
    order: int
    time: float
    effects: list[Effect] = field(default_factory=list)
    changed: bool = False

    @property
    def facts(self) -> Facts:
        return self.view.facts

    @property
    def index(self) -> Index:
        return self.view.index

    def component(self, dn: Dn) -> tuple[Component, ComponentFact]:
        """A component's configuration and what is known of it."""
        return self.index.components[dn], self.facts.component(dn)

    def run(self, node: str, command: Message) -> None:
        """Let the executive of a node carry out a command; nothing if it is no member."""
        node_id = self.facts.node(node).node_id
        if node_id is not None:
            self.effects.append(Run(node_id, command))

    def node_of(self, component: Dn) -> str:
        """The name of the node on which a component lives."""
        return self.view.host[self.index.unit_of_component[component].dn]

    def alarm(self, timer: str, subject: str, delay: float, token: int = 0) -> None:
        """Get `TimeUp(timer, subject, token)` after `delay` seconds."""
        self.effects.append(Alarm(f"{timer} {subject}", delay, TimeUp(timer, subject, token)))

    def disarm(self, timer: str, subject: str) -> None:
        self.effects.append(Alarm(f"{timer} {subject}", None))

    def reply(self, origin: Origin | None, message: Message) -> None:
        if origin is not None:
            self.effects.append(Reply(origin, message))

    def refuse(self, origin: Origin | None, code: ErrorCode, reason: str) -> None:
        self.reply(origin, Failed(int(code), reason))

    def event(self, client: Client, message: Message) -> None:
        self.effects.append(Event(client, message))

    def invoke(self, callback: Callback, timeout: float) -> int:
        """Note a callback that must be answered in `timeout` seconds; return its invocation."""
        self.facts.last_invocation += 1
        number = self.facts.last_invocation
        self.facts.callbacks[number] = callback
        self.alarm(CALLBACK, str(number), timeout, number)
        self.changed = True
        return number

    def revoke(self, invocation: int) -> None:
        """Forget a callback: answered, or nobody is left to answer it."""
        if self.facts.callbacks.pop(invocation, None) is not None:
            self.disarm(CALLBACK, str(invocation))

    def say(self, dn: Dn, text: str, level: int = INFO) -> None:
        """Add a line to an object's history, and to the log."""
        text = text[:TEXT_MAX]
        lines = self.facts.history.setdefault(dn, [])
        lines.append(HistoryLine(self.time, self.order, text))
        del lines[:-HISTORY_MAX]
        self.effects.append(Log(level, f"AMF: {self.index.short(dn)}: {text}"))

    def blame(self, comp: Dn, text: str) -> None:
        """Tell the operations that run on the component's group that something has gone wrong."""
        group = self.index.group_of_unit[self.index.unit_of_component[comp].dn].dn
        for operation in self.facts.operations:
            if operation.running and not operation.fault and group in operation.groups:
                operation.fault = f"{self.index.short(comp)}: {text}"

    def notify(self, number: int, dn: Dn, text: str, old: int = 0, new: int = 0) -> None:
        """Tell watchers and the notification service of a state change."""
        self._publish(Notification(number, dn, self.time, text, old=old, new=new))

    def report_error(self, comp: Dn, text: str, recommended: str, applied: str) -> None:
        """Tell of a fault, of the recovery that was recommended for it, and of what is done."""
        self._publish(Notification(0x191, comp, self.time, text, recommended=recommended, applied=applied))

    def raise_alarm(self, number: int, dn: Dn, text: str, advice: str) -> None:
        """Raise an alarm, once until it is cleared: its cause, and what people can do."""
        key = f"{number} {dn}"
        if key not in self.facts.alarms:
            self.facts.alarms[key] = text
            self.say(dn, f"alarm: {text}: {advice}", ERROR)
            self._publish(Notification(number, dn, self.time, text, alarm=True, advice=advice))

    def clear_alarm(self, number: int, dn: Dn) -> None:
        text = self.facts.alarms.pop(f"{number} {dn}", None)
        if text is not None:
            self.say(dn, f"alarm is over: {text}", WARNING)
            self._publish(Notification(number, dn, self.time, text, alarm=True, cleared=True))

    def _publish(self, notification: Notification) -> None:
        for client in self.facts.watchers:
            self.event(client, notification)
        unit = self._unit_about(notification.object)
        node = self.index.node_named[self.view.host[unit.dn]].dn if unit else ""
        node = notification.object if notification.object in self.index.nodes else node
        si = self.index.instance_of_csi.get(notification.text)
        campaign = unit.maintenance_campaign or "" if unit else ""
        notice = notice_of(notification, node or self._coordinator(), node, si.dn if si is not None else "", campaign)
        self.effects.append(Forward(Service.NTF, notice))

    def _unit_about(self, dn: Dn) -> ServiceUnit | None:
        """The SU that an object is, or is in."""
        return self.index.unit_of_component.get(dn) or self.index.units.get(dn)

    def _coordinator(self) -> Dn:
        """The AMF node that speaks for all."""
        named = self.index.node_named.items()
        return next((node.dn for name, node in named if self._is_coordinator(name)), self.index.cluster.dn)

    def _is_coordinator(self, name: str) -> bool:
        members = self.facts.members
        return bool(members) and self.facts.node(name).node_id == members[0]

    # ---- the stages of failovers

    def failover_begins(self, si: Dn, cause: str, from_su: Dn, detected: float | None) -> None:
        """An SI is about to lose its active; `detected`: when that was noticed, None for an orderly switchover."""
        last = self.failover(si)
        if last is None:
            self.facts.failovers.append(FailoverStatus(si=si, cause=cause, from_su=from_su, detected=detected))
            del self.facts.failovers[:-FAILOVERS_MAX]
            self._stamp(si, decided=self.time)

    def failover(self, si: Dn) -> FailoverStatus | None:
        """The failover of an SI that has not ended yet."""
        return next((entry for entry in self.facts.failovers if entry.si == si and entry.active is None), None)

    def failover_cleaned(self, si: Dn) -> None:
        entry = self.failover(si)
        if entry is not None and entry.cleaned is None:
            self._stamp(si, cleaned=self.time)

    def failover_promotes(self, si: Dn, su: Dn) -> None:
        self._stamp(si, to_su=su, epoch=self.order)

    def failover_ends(self, si: Dn) -> None:
        self._stamp(si, active=self.time)

    def _stamp(self, si: Dn, **stages: Any) -> None:
        for position, entry in enumerate(self.facts.failovers):
            if entry.si == si and entry.active is None:
                self.facts.failovers[position] = msgspec.structs.replace(entry, **stages)


def describe(state: HaState | None) -> str:
    """An HA state in words; None: to be removed."""
    return state.name if state is not None else "removal"
