"""The demonstration: callers call through the call server while its process, its node, and its node again are lost.

python -m telephony.demo            (or `make demo`)

It starts three executives on loopback, kills what is active in the middle of 400 calls, prints where the time went and
what became of the calls, checks that every call was billed once and rightly, and then runs the same server with
checkpointing off, to show that this is what kept the calls.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import anyio
import msgspec
import yaml

from telephony import ledger, report, sip
from telephony.callers import Callers, Mark

AMF_CONF = Path(__file__).parents[1] / "amf.conf"
BILLING_TIMEOUT = 20.0
LOST_SHOWN = 10


class Fault(Protocol):
    @property
    def time(self) -> float:
        """When it was done, in seconds of the wall clock."""


class Control(Protocol):
    """What the demonstration can do to a cluster."""

    async def ready(self) -> None:
        """Wait until the call server has an active and a standby instance."""

    async def kill_component(self) -> Fault: ...
    async def kill_node(self) -> Fault: ...
    async def freeze_node(self) -> Fault: ...
    async def breakdown(self, fault: Fault) -> report.Stages:
        """Where the time of the failover after this fault went."""

    async def repair(self) -> None:
        """Bring lost nodes back."""


class Plan(msgspec.Struct, frozen=True):
    """How many callers, and how patient. Times in seconds."""

    calls: int = 400  # per fault
    rate: float = 20.0
    talk: float = 10.0
    control_calls: int = 100
    server: sip.Endpoint = ("127.0.1.100", 5060)
    callee: sip.Endpoint = ("127.0.0.1", 5070)
    patience: float = 10.0  # how long callers of the control run listen to the ringing
    token: float = 1.0  # the token timeout: how long a dead node is believed to be alive


@dataclass
class Outcome:
    faults: list[report.FaultReport] = field(default_factory=list)
    billing_errors: list[str] = field(default_factory=list)
    billed: int = 0
    control_up: int = 0
    control_lost: int = 0

    @property
    def failures(self) -> list[str]:
        """What did not hold, whatever the machine: calls, records, the control run."""
        found = [f"{fault.what}: {fault.lost} calls lost" for fault in self.faults if fault.lost]
        found += [f"{fault.what}: {fault.silent} listeners without audio" for fault in self.faults if fault.silent]
        found += self.billing_errors
        if not self.control_lost:
            found.append("the control run lost no call, so nothing is proven")
        return found

    @property
    def slow(self) -> list[str]:
        """Audio gaps over their limits. A busy machine makes them: they are told, and do not fail the run."""
        return [f"{fault.what}: {text}" for fault in self.faults if (text := fault.over_limit)]


Say = Callable[[str], None]
Cluster = Callable[[Path], AbstractAsyncContextManager[Control]]


async def demonstrate(cluster: Cluster, plan: Plan, directory: Path, say: Say, show: "View | None" = None) -> Outcome:
    """The whole demonstration. `cluster` starts one with the given configuration."""
    outcome = Outcome()
    cdr = directory / "cdr.jsonl"
    gone = 1000 * (plan.token + 0.15)
    async with cluster(configure(directory, plan, cdr, checkpoint=True)) as control:
        say("three executives are starting")
        await control.ready()
        faults: tuple[tuple[str, Callable[[], Awaitable[Fault]], float], ...] = (
            ("active component killed", control.kill_component, 100.0),
            ("active node killed", control.kill_node, gone),
            ("active node frozen, then fenced", control.freeze_node, gone),
        )
        for number, (what, fault, limit) in enumerate(faults):
            callers = Callers(plan.server, plan.callee, plan.rate, plan.talk, name=f"call{number}")
            say(f"{what} in the midst of {plan.calls} calls:")
            result = await one_fault(control, what, fault, callers, plan.calls, show)
            result = msgspec.structs.replace(result, gap_limit=limit)
            outcome.faults.append(result)
            say("  " + result.line())
            say("  " + result.figures())
            for name, failure in list(callers.lost.items())[:LOST_SHOWN]:
                say(f"  lost: {name}: {failure}")
            errors, billed = await check_billing(callers, cdr)
            outcome.billing_errors += errors
            outcome.billed += billed
            await control.repair()
            await control.ready()
    say(f"call detail records: {outcome.billed}, wrong: {len(outcome.billing_errors)}")
    async with cluster(configure(directory, plan, directory / "control.jsonl", checkpoint=False)) as control:
        say(f"control run, checkpointing off, active component killed in the midst of {plan.control_calls} calls:")
        await control.ready()
        callers = Callers(plan.server, plan.callee, plan.rate, plan.talk, name="control", patience=plan.patience)
        result = await one_fault(control, "control", control.kill_component, callers, plan.control_calls, show)
        outcome.control_up, outcome.control_lost = result.up, result.lost
        say(f"  {result.up} calls up, {result.lost} lost")
    return outcome


async def one_fault(
    control: Control,
    what: str,
    fault: Callable[[], Awaitable[Fault]],
    callers: Callers,
    count: int,
    show: "View | None",
) -> report.FaultReport:
    """Make calls, break something when as many as possible are up, and wait until all calls are over."""
    made: list[tuple[Mark, float, report.Stages]] = []

    async def break_it() -> None:
        await anyio.sleep(min(1.2 * callers.talk, 0.7 * count / callers.rate))
        mark = callers.mark()
        done = await fault()
        at = time.monotonic() - (time.time() - done.time)
        made.append((mark, at, await control.breakdown(done)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(break_it)
        if show is not None:
            tasks.start_soon(show.follow, what, callers)
        await callers.run(count)
        if show is not None:
            show.stop()
    callers.close()
    mark, at, stages = made[0]
    return report.fault_report(what, at, mark, stages, callers)


async def check_billing(callers: Callers, cdr: Path) -> tuple[list[str], int]:
    """Compare the records of these calls with what the callers saw; the last records may take a moment."""
    prefix = f"sip:{callers.name}-"
    deadline = time.monotonic() + BILLING_TIMEOUT
    while True:
        records = [record for record in ledger.read(cdr) if record.caller.startswith(prefix)]
        errors = report.billing_errors(callers.calls, callers.answered, records)
        if not errors or time.monotonic() > deadline:
            return errors, len(records)
        await anyio.sleep(0.2)


def configure(directory: Path, plan: Plan, cdr: Path, checkpoint: bool) -> Path:
    """The example's amf.conf with this run's addresses in it."""
    tree: dict[str, Any] = yaml.safe_load(AMF_CONF.read_text())
    csi = tree["applications"]["phone"]["service_instances"]["calls"]["csis"]["sip"]
    csi["attributes"] |= {
        "address": f"{plan.server[0]}:{plan.server[1]}",
        "route": f"{plan.callee[0]}:{plan.callee[1]}",
        "cdr": str(cdr),
        "checkpoint": "yes" if checkpoint else "no",
    }
    path = directory / f"amf-{cdr.stem}.conf"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


class View:
    """The live view: one line that says how the calls are."""

    def __init__(self, console: Any) -> None:
        from rich.live import Live

        self.live = Live(console=console, refresh_per_second=8, transient=True)
        self._stopped = anyio.Event()

    async def follow(self, what: str, callers: Callers) -> None:
        from rich.table import Table

        self._stopped = anyio.Event()
        while not self._stopped.is_set():
            table = Table("fault", "made", "up", "over", "lost", title="calls")
            over = sum(phone.result.over for phone in callers.calls)
            lost = len(callers.lost)
            figures = (len(callers.calls), callers.up, over)
            table.add_row(what, *(str(figure) for figure in figures), f"[red]{lost}" if lost else "[green]0")
            self.live.update(table)
            with anyio.move_on_after(0.2):
                await self._stopped.wait()

    def stop(self) -> None:
        self._stopped.set()


def main(arguments: Sequence[str] | None = None) -> int:
    from rich.console import Console

    from telephony.development import cluster

    parser = argparse.ArgumentParser(prog="telephony.demo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--calls", type=int, default=400, help="calls per fault (400)")
    parser.add_argument("--control-calls", type=int, default=100, help="calls of the control run (100)")
    parser.add_argument("--rate", type=float, default=20.0, help="calls per second (20)")
    parser.add_argument("--talk", type=float, default=10.0, help="seconds of talk (10)")
    parser.add_argument("--token", type=int, default=1000, help="token timeout in milliseconds (1000)")
    chosen = parser.parse_args(arguments)
    plan = Plan(chosen.calls, chosen.rate, chosen.talk, chosen.control_calls, token=chosen.token / 1000)
    console = Console()
    view = View(console) if console.is_terminal else None
    begin = time.monotonic()

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - begin:6.1f} s  {line}", highlight=False, soft_wrap=True)

    with tempfile.TemporaryDirectory(prefix="telephony-") as directory, view.live if view else nullcontext():
        outcome = anyio.run(demonstrate, cluster(chosen.token), plan, Path(directory), say, view)
    for line in summary(outcome):
        console.print(line, highlight=False, soft_wrap=True)
    return 1 if outcome.failures else 0


def summary(outcome: Outcome) -> list[str]:
    lines = ["", "summary"]
    for fault in outcome.faults:
        lines += [f"  {fault.what}: {fault.line()}"]
    lines.append(f"  billed: {outcome.billed} calls, {len(outcome.billing_errors)} wrong")
    lines.append(f"  without checkpointing: {outcome.control_lost} calls lost, {outcome.control_up} were up")
    failures = outcome.failures
    lines += [f"  NOT HELD: {failure}" for failure in failures[:20]]
    lines += [f"  over the limit: {text}" for text in outcome.slow]
    return lines if failures else [*lines, "  everything held"]


if __name__ == "__main__":
    sys.exit(main())
