"""`amf dev`: a whole cluster on this machine, with keys to break it and the measured breakdown after each fault."""

import os
import signal
import sys
import termios
import tty
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import anyio
import click

from corosync_amf.ais import Assignment
from corosync_amf.config import ConfigError, load_amf, render_text
from corosync_amf.development import DevelopmentCluster, Fault, development_cluster
from corosync_amf.development_nodes import NODE_NAMES
from corosync_amf.errors import AisError
from corosync_amf.services.amf.messages import Status

from .logs import LogFile, Once, merged, painted
from .objects import short

KEYS: Final = (
    "k kill the component   K kill the node   f freeze the node   p cut the node off   s swap\n"
    "r repair all nodes     t status          q quit"
)
QUIT: Final = ("q", "\x03", "\x04", "")
TAIL_POLL: Final = 0.1
SETTLE_SECONDS: Final = 10.0


@click.command("dev")
@click.argument("amf_conf", type=click.Path(exists=True, dir_okay=False, path_type=Path), default="amf.conf")
@click.option("-n", "--nodes", default=3, show_default=True, type=click.IntRange(1, 9), help="How many executives.")
@click.option("--token", default=1000, show_default=True, type=click.IntRange(100), help="Token timeout in ms.")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), help="Keep the cluster's files here.")
@click.option(
    "--logs",
    type=click.Choice(["once", "all", "none"]),
    default="once",
    show_default=True,
    help="Show of the executives' logs what all say once, everything, or nothing.",
)
def command(amf_conf: Path, nodes: int, token: int, directory: Path | None, logs: str) -> None:
    """Run AMF_CONF on a development cluster: executives on loopback, no root. Not for production.

    Keys kill and freeze what is active, and show how long the failover took, and where the time went.
    """
    try:
        cluster, _ = load_amf(amf_conf, os.environ, nodes=NODE_NAMES[:nodes])
    except ConfigError as error:
        click.echo(render_text(error.problems), err=True)
        sys.exit(1)
    if not any(application.service_instances for application in cluster.applications):
        click.echo(f"error: {amf_conf} has no application with any work", err=True)
        sys.exit(1)
    place = directory.absolute() if directory else None
    error_text = anyio.run(_develop, amf_conf.absolute(), nodes, token, place, logs)
    if error_text:
        click.echo(f"error: {error_text}", err=True)
        sys.exit(1)


async def _develop(amf_conf: Path, count: int, token: int, directory: Path | None, logs: str) -> str:
    """Return what went wrong, "" when the user ended it."""
    path = os.pathsep.join(filter(None, (str(amf_conf.parent), os.environ.get("PYTHONPATH"))))
    environ = {"PYTHONPATH": path}
    failure = ""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_when_told, tasks.cancel_scope)
        async with development_cluster(amf_conf, count=count, token=token, directory=directory, environ=environ) as it:
            click.echo(f"development cluster of {count} executives in {it.directory} - not for production")
            click.echo(f"for other commands: export COROSYNC_AMF_SOCKET={it.nodes[-1].socket_path}")
            screen = Screen(it, logs)
            tasks.start_soon(screen.follow)
            try:
                await it.until_assigned()
                await _obey(it, screen)
            except AisError as error:
                failure = str(error)
                screen.show_logs()  # their end says why
        tasks.cancel_scope.cancel()
    return failure


async def _stop_when_told(scope: anyio.CancelScope) -> None:
    """Ctrl-C and the like end the cluster in order, however often they come."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async for _ in signals:
            scope.cancel()


class Screen:
    """What the user sees: the executives' logs as they grow, and in between what the keys do."""

    def __init__(self, cluster: DevelopmentCluster, logs: str) -> None:
        files = [] if logs == "none" else cluster.nodes
        self._logs = [LogFile(node.log_path) for node in files]
        self._once = Once() if logs == "once" else None

    async def follow(self) -> None:
        while True:
            self.show_logs()
            await anyio.sleep(TAIL_POLL)

    def show_logs(self) -> None:
        """Show what the executives have written by now, in the order of time."""
        for number, line in merged([log.new_lines() for log in self._logs]):
            if self._once is None or self._once.is_new(number, line):
                click.echo(painted(line, number))

    def say(self, text: str, colour: str | None = None) -> None:
        self.show_logs()
        click.secho(text, fg=colour, bold=True)


async def _obey(cluster: DevelopmentCluster, screen: Screen) -> None:
    with _unbuffered():
        screen.say(f"every service instance is assigned\n{KEYS}")
        while (key := await _next_key()) not in QUIT:
            try:
                await _press(cluster, screen, key)
            except AisError as error:
                screen.say(f"error: {error}", "red")


async def _press(cluster: DevelopmentCluster, screen: Screen, key: str) -> None:
    faults: dict[str, Callable[[], Awaitable[Fault]]] = {
        "k": cluster.kill_component,
        "K": cluster.kill_node,
        "f": cluster.freeze_node,
        "p": cluster.partition,
        "s": cluster.swap,
    }
    if key in faults:
        fault = await faults[key]()
        screen.say(f"{fault.what} at {short(fault.target)}", "red")
        if 2 * len(cluster.survivors) < len(cluster.nodes):
            screen.say("no quorum is left, so nothing may be active: r repairs", "red")
            return
        screen.say(str(await cluster.breakdown(fault)), "green")
        screen.say(await _settled(cluster))
    elif key == "r":
        status = await cluster.repair()
        screen.say(f"repaired: {len(_members(status))} nodes are members, all is assigned")
    elif key == "t":
        from .status import as_table

        screen.say(as_table(await cluster.status()))
    elif key.strip():
        screen.say(KEYS)


async def _settled(cluster: DevelopmentCluster) -> str:
    """Wait until as much is assigned as can be, and tell."""
    lost = [node.name for node in cluster.nodes if node not in cluster.survivors]

    def is_settled(status: Status) -> bool:
        is_whole = all(instance.assignment is Assignment.FULLY_ASSIGNED for instance in status.instances)
        return is_whole or (bool(lost) and not any(component.doing for component in status.components))

    await cluster.until(is_settled, "not every service instance is fully assigned", SETTLE_SECONDS)
    return f"without {', '.join(lost)}: r repairs" if lost else "all is assigned again"


def _members(status: Status) -> list[str]:
    return [node.name for node in status.nodes if node.node_id is not None]


async def _next_key() -> str:
    """One key, without Enter; one character when stdin is no terminal, "" at its end."""
    try:
        await anyio.wait_readable(sys.stdin.fileno())
    except PermissionError:
        pass  # a file is always readable
    return os.read(sys.stdin.fileno(), 1).decode(errors="replace")


@contextmanager
def _unbuffered() -> Iterator[None]:
    """A terminal gives each key at once, and does not show it."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
