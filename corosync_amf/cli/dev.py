"""`amf dev`: a whole cluster on this machine, with keys to break it and the measured breakdown after each fault."""

import os
import sys
import termios
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import anyio
import click

from corosync_amf.development import DevelopmentCluster, Fault, development_cluster
from corosync_amf.errors import AisError

KEYS: Final = "k kill component  K kill node  f freeze node  p partition  s swap  r repair nodes  t status  q quit"
COLOURS: Final = ("cyan", "magenta", "yellow", "green", "blue")
TAIL_POLL: Final = 0.1


@click.command("dev")
@click.argument("amf_conf", type=click.Path(exists=True, dir_okay=False, path_type=Path), default="amf.conf")
@click.option("-n", "--nodes", default=3, show_default=True, type=click.IntRange(1, 9), help="How many executives.")
@click.option("--token", default=1000, show_default=True, type=click.IntRange(100), help="Token timeout in ms.")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), help="Keep the cluster's files here.")
@click.option("--quiet", is_flag=True, help="Do not show the executives' logs.")
def command(amf_conf: Path, nodes: int, token: int, directory: Path | None, quiet: bool) -> None:
    """Run AMF_CONF on a development cluster: executives on loopback, no root. Not for production."""
    anyio.run(_develop, amf_conf.absolute(), nodes, token, directory, quiet)


async def _develop(amf_conf: Path, count: int, token: int, directory: Path | None, quiet: bool) -> None:
    environ = {"PYTHONPATH": str(amf_conf.parent)}
    async with development_cluster(amf_conf, count=count, token=token, directory=directory, environ=environ) as cluster:
        click.echo(f"development cluster of {count} executives in {cluster.directory} - not for production")
        async with anyio.create_task_group() as tasks:
            if not quiet:
                for number, node in enumerate(cluster.nodes):
                    tasks.start_soon(_follow, node.name, node.log_path, COLOURS[number % len(COLOURS)])
            await cluster.until_assigned()
            click.secho(f"every service instance is assigned. keys: {KEYS}", bold=True)
            async with _keys() as keys:
                async for key in keys:
                    if key in ("q", "\x03", ""):
                        break
                    await _press(cluster, key)
            tasks.cancel_scope.cancel()


async def _press(cluster: DevelopmentCluster, key: str) -> None:
    faults: dict[str, Callable[[], Awaitable[Fault]]] = {
        "k": cluster.kill_component,
        "K": cluster.kill_node,
        "f": cluster.freeze_node,
        "p": cluster.partition,
        "s": cluster.swap,
    }
    try:
        if key in faults:
            fault = await faults[key]()
            click.secho(f"{fault.what} at {fault.target}", fg="red")
            click.secho(str(await cluster.breakdown(fault)), bold=True)
            await cluster.until_assigned()
        elif key == "r":
            await repair(cluster)
        elif key == "t":
            from .status import as_table

            click.echo(as_table(await cluster.status()))
        elif key.strip():
            click.echo(f"keys: {KEYS}")
    except AisError as error:
        click.secho(f"error: {error}", fg="red")


async def repair(cluster: DevelopmentCluster) -> None:
    """End partitions and start what is down, and wait until all is well."""
    cluster.heal()
    for node in cluster.nodes:
        if node.frozen:
            cluster.thaw_node(node.name)
        if not node.running:
            cluster.start_node(node)
    status = await cluster.until_assigned()
    click.echo(f"{sum(node.node_id is not None for node in status.nodes)} nodes are members")


async def _follow(name: str, path: Path, colour: str) -> None:
    """Show what is added to a log file."""
    async with await anyio.open_file(path, "r", errors="replace") as log:
        while True:
            line = await log.readline()
            if line:
                click.echo(f"{click.style(name, fg=colour)} {line.rstrip()}")
            else:
                await anyio.sleep(TAIL_POLL)


@asynccontextmanager
async def _keys() -> AsyncIterator[AsyncIterator[str]]:
    """The keys that are pressed, one by one, without Enter; lines' characters when stdin is no terminal."""
    with _unbuffered() if sys.stdin.isatty() else _as_it_is():
        yield _read_keys()


async def _read_keys() -> AsyncIterator[str]:
    while True:
        await anyio.wait_readable(sys.stdin.fileno())
        key = os.read(sys.stdin.fileno(), 1).decode(errors="replace")
        yield key
        if not key:
            return


@contextmanager
def _unbuffered() -> Iterator[None]:
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield
