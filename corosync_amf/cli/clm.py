"""`amf clm list|show|follow|lock|unlock|shutdown`: an operator's view of the membership.

All but `follow` work on a locked node, too: that is where one may have to unlock it.
"""

import time
from typing import TYPE_CHECKING, Any

import anyio
import click

from .listing import as_item, is_data, output_option, print_facts, print_rows

if TYPE_CHECKING:
    from corosync_amf.services.clm.messages import NodeInfo, Nodes, Operate


@click.group("clm")
def command() -> None:
    """Look at the nodes of the cluster, and lock, unlock or shut them down."""


@command.command("list")
@output_option
def list_(output: str) -> None:
    """List the nodes that are or were here, with their admin state."""
    found = anyio.run(_nodes)
    if not is_data(output):
        word = "quorate" if found.quorate else "NO QUORUM"
        click.echo(f"view {found.view_number}, {sum(each.member for each in found.nodes)} members, {word}\n")
    rows = [(each.name, each.node_id or None, each.address or None, _state(each), each.admin) for each in found.nodes]
    print_rows(output, ("NODE", "ID", "ADDRESS", "STATE", "ADMIN"), rows)


async def _nodes() -> "Nodes":
    from corosync_amf.engine import Service
    from corosync_amf.services.clm import messages as m
    from corosync_amf.session import Session

    session = await Session.open()
    try:
        return await session.ask(Service.CLM, m.ListNodes(), m.Nodes)
    finally:
        await session.close()


def _state(info: "NodeInfo") -> str:
    return "member" if info.member else "not a member" if info.node_id else "away"


@command.command("show")
@click.argument("node")
@output_option
def show(node: str, output: str) -> None:
    """Show what is known of NODE (its name or id)."""
    from corosync_amf.errors import NotExist

    nodes = anyio.run(_nodes).nodes
    found = [each for each in nodes if node in (each.name, f"safNode={each.name}", str(each.node_id or ""))]
    if not found:
        raise NotExist(f"no node {node!r}; there are {', '.join(each.name for each in nodes)}")
    info = found[0]
    started = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(info.boot_timestamp)) if info.node_id else None
    facts: dict[str, Any] = {
        "node": info.name,
        "id": info.node_id or None,
        "address": info.address or None,
        "state": _state(info),
        "admin": info.admin,
        "booted": started,
        "initial_view_number": info.initial_view_number or None,
    }
    print_facts(output, facts)


@command.command("follow")
@output_option
def follow(output: str) -> None:
    """Print the present view and each change, a line each, until interrupted."""
    try:
        anyio.run(_follow, output)
    except KeyboardInterrupt:
        pass


async def _follow(output: str) -> None:
    from corosync_amf.services import clm

    async with clm.initialize() as service, service.views() as views:
        async for event in views:
            view = event.view
            members = [each.cluster_node.node_name for each in view.notifications if each.cluster_node.member]
            if is_data(output):
                facts = {
                    "view_number": view.view_number,
                    "step": event.step.name.lower(),
                    "members": members,
                    "quorate": view.quorate,
                    "reason": event.reason,
                }
                click.echo(as_item(output, facts))
                continue
            names = " ".join(members)
            quorum = "quorate" if view.quorate else "no quorum"
            click.echo(f"view {view.view_number}  {event.step.name.lower()}  {names}  {quorum}  {event.reason}")


_timeout = click.option("--timeout", type=float, help="Longest wait, in seconds; the operation goes on after it.")
_force = click.option("--force", is_flag=True, help="Even if the cluster loses its quorum.")
_validate = click.option("--validate", is_flag=True, help="Ask first those who may reject it.")


@command.command("lock")
@click.argument("node")
@_timeout
@_force
@_validate
def lock(node: str, timeout: float | None, force: bool, validate: bool) -> None:
    """Take NODE out of the cluster, after its work has been moved away or some seconds have passed."""
    _operate("LOCK", node, timeout, force=force, validate=validate)


@command.command("shutdown")
@click.argument("node")
@_timeout
@_force
@_validate
def shutdown(node: str, timeout: float | None, force: bool, validate: bool) -> None:
    """Take NODE out of the cluster when its work has ended by itself, however long that takes."""
    _operate("SHUTDOWN", node, timeout, force=force, validate=validate)


@command.command("unlock")
@click.argument("node")
@_timeout
def unlock(node: str, timeout: float | None) -> None:
    """Let NODE be a member again."""
    _operate("UNLOCK", node, timeout)


def _operate(operation: str, node: str, timeout: float | None, *, force: bool = False, validate: bool = False) -> None:
    from corosync_amf.services.clm import messages as m

    anyio.run(_request, m.Operate(m.NodeOperation[operation], node, force, validate), timeout)
    click.echo(f"{node}: {'shut down' if operation == 'SHUTDOWN' else operation.lower() + 'ed'}")


async def _request(message: "Operate", timeout: float | None) -> None:
    from corosync_amf.engine import Done, Service
    from corosync_amf.session import Session

    session = await Session.open()
    try:
        await session.request(Service.CLM, message, Done, timeout=timeout)
    finally:
        await session.close()
