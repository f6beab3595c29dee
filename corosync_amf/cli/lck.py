"""`amf lck list|show|purge|run`: an operator's view of LCK, and a lock for a command."""

import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio
import click

from .listing import output_option, print_rows, printable

if TYPE_CHECKING:
    from anyio.abc import Process

    from corosync_amf.services import lck

TOKEN: Final = "LCK_TOKEN"
BY_SIGNAL: Final = 128
"""A command that a signal ended gives this plus the signal's number, as in a shell."""


@click.group("lck")
def command() -> None:
    """Look at locks, do away with orphans, or hold a lock while a command runs."""


@command.command("list")
@output_option
def list_(output: str) -> None:
    """List the resources of the cluster: how many handles are open, locks held, requests waiting, orphans."""
    anyio.run(_list, output)


async def _list(output: str) -> None:
    from corosync_amf.services import lck

    async with lck.initialize() as service:
        found = await service.resource_list()
    rows = [[each.name, each.handles, each.held, each.waiting, each.orphaned] for each in found]
    print_rows(output, ["RESOURCE", "HANDLES", "HELD", "WAITING", "ORPHANED"], rows)


@command.command("show")
@click.argument("resource")
@output_option
def show(resource: str, output: str) -> None:
    """Show who holds locks of RESOURCE, who waits, in the order in which they will be served, and what orphans there
    are; at most 1000 of each.
    """
    anyio.run(_show, resource, output)


async def _show(name: str, output: str) -> None:
    from corosync_amf.services import lck

    async with lck.initialize() as service:
        found = await service.resource_describe(name)
    states = {"held": found.held, "waiting": found.waiting, "orphaned": found.orphaned}
    rows = [
        [state, lock.mode.name, lock.node_id, lock.client, lock.lock_id, lock.token]
        for state, locks in states.items()
        for lock in locks
    ]
    print_rows(output, ["STATE", "MODE", "NODE", "CLIENT", "LOCK", "TOKEN"], rows)


@command.command("purge")
@click.argument("resource")
def purge(resource: str) -> None:
    """Do away with the locks of RESOURCE that dead holders left behind."""
    anyio.run(_purge, resource)


async def _purge(name: str) -> None:
    from corosync_amf.services import lck

    async with (
        lck.initialize() as service,
        service.resource_open(name, lck.ResourceOpenFlags.NONE) as resource,
    ):
        before = (await service.resource_describe(name)).status.orphaned
        await resource.lock_purge()
    click.echo(f"{printable(name)}: purged, there were {before} orphans")


@command.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("resource")
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-n", "--no-queue", is_flag=True, help="Rather fail, with exit code 1, than wait for others.")
@click.option("-s", "--shared", is_flag=True, help="A shared (PR) lock instead of an exclusive one.")
@click.option("-w", "--wait", type=float, help="Seconds to wait for the lock; for ever when not given.")
def run(resource: str, words: tuple[str, ...], no_queue: bool, shared: bool, wait: float | None) -> None:
    """Hold a lock of RESOURCE while COMMAND runs; the exit code is the command's.

    The lock's token stands in its environment as LCK_TOKEN. When the lock is lost the command is terminated.
    """
    sys.exit(anyio.run(_run, resource, words, no_queue, shared, wait))


async def _run(name: str, words: Sequence[str], no_queue: bool, shared: bool, wait: float | None) -> int:
    from corosync_amf.services import lck

    mode = lck.LockMode.PR if shared else lck.LockMode.EX
    flags = lck.LockFlags.NO_QUEUE if no_queue else lck.LockFlags.NONE
    async with (
        lck.initialize(events=lck.Callback(0)) as service,
        service.resource_open(name, timeout=wait) as resource,
    ):
        try:
            async with resource.lock(mode, flags, timeout=wait) as lock:
                return await _hold(service, lock, words)
        except lck.NotQueued:
            click.echo(f"error: {printable(name)} is locked by somebody else", err=True)
            return 1


async def _hold(service: "lck.LckService", lock: "lck.Lock", words: Sequence[str]) -> int:
    """Run the command; give its exit code."""
    environ = {**os.environ, TOKEN: str(lock.token)}
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP, signal.SIGINT) as signals:
        async with (
            await anyio.open_process(words, stdin=None, stdout=None, stderr=None, env=environ) as process,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_end_when_lost, service, process)
            tasks.start_soon(_pass_on, signals, process)
            code = await process.wait()
            tasks.cancel_scope.cancel()
    return code if code >= 0 else BY_SIGNAL - code


async def _end_when_lost(service: "lck.LckService", process: "Process") -> None:
    from corosync_amf.errors import Library
    from corosync_amf.services import lck

    reason = "the session was finalized"
    try:
        async for event in service:
            if isinstance(event, lck.LockLost):
                reason = event.reason
                break
    except Library as error:
        reason = str(error)
    click.echo(f"error: the lock is lost: {reason}", err=True)
    process.terminate()


async def _pass_on(signals: Any, process: "Process") -> None:
    """Who ends this command means the other one; what is typed at a terminal it gets by itself."""
    async for number in signals:
        if number != signal.SIGINT:
            process.send_signal(number)
