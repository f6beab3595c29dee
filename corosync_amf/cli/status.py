"""`amf status [OBJECT]`: one snapshot of the cluster, as a table or JSON, once or again and again."""

import sys
from enum import IntEnum
from typing import Any, Final

import anyio
import click
import msgspec

from corosync_amf.ais import Assignment
from corosync_amf.services.amf.messages import Status, UnitStatus

from .listing import aligned, as_data, is_data, output_option
from .objects import INSTANCE, resolve, short

DEGRADED: Final = 4
NO_QUORUM: Final = 5
REFRESH: Final = 0.5


@click.command("status")
@click.argument("object_", metavar="[OBJECT]", required=False)
@click.option("-w", "--watch", is_flag=True, help="Show it again and again.")
@output_option
def command(object_: str | None, watch: bool, output: str) -> None:
    """Show what runs where, and whether all is well (exit code 4: degraded, 5: no quorum)."""
    try:
        sys.exit(anyio.run(_show, object_, watch, output))
    except KeyboardInterrupt:
        if not watch:
            raise


async def _show(name: str | None, watch: bool, output: str) -> int:
    from corosync_amf.services import amf

    async with amf.initialize() as service:
        while True:
            status = whole = await service.status()
            if name is not None:
                status = await service.status(resolve(whole, name, INSTANCE))
            text = as_data(output, plain(status)) if is_data(output) else as_table(status, whole)
            if not watch:
                click.echo(text)
                return exit_code(status)
            click.echo(f"\x1b[H\x1b[2J{text}" if sys.stdout.isatty() else text)
            await anyio.sleep(REFRESH)


def exit_code(status: Status) -> int:
    """0: all is well; 4: a service instance lacks something; 5: no quorum."""
    if not status.cluster.quorate:
        return NO_QUORUM
    well = all(instance.assignment is Assignment.FULLY_ASSIGNED for instance in status.instances)
    return 0 if well else DEGRADED


def plain(value: Any) -> Any:
    """The status for programs: enumerators by name, lists as they are. `version` names the schema."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value.name if isinstance(value, IntEnum) else value


def as_table(status: Status, whole: Status | None = None) -> str:
    """Service instances first, then the units and where they are, then what is going on.

    When `status` is that of one object, `whole` tells of the cluster, and where the units are.
    """
    whole = whole or status
    cluster = whole.cluster
    members = sum(node.node_id is not None for node in whole.nodes)
    lines = [
        f"cluster {'quorate' if cluster.quorate else 'NO QUORUM'}, {members} of {len(whole.nodes)} nodes: "
        + ", ".join(f"{node.name}{'' if node.node_id is not None else ' (down)'}" for node in whole.nodes),
    ]
    rows: list[tuple[str, ...]] = [("SERVICE INSTANCE", "STATE", "ACTIVE", "STANDBY")]
    for instance in status.instances:
        where = ["+".join(_place(whole, su) for su in sus) or "-" for sus in (instance.active, instance.standby)]
        rows.append((short(instance.dn), _word(instance.assignment.name), where[0], where[1]))
    if status is whole or status.instances:
        lines += ["", *aligned(rows)]
    rows = [("UNIT", "NODE", "ADMIN", "PRESENCE", "READINESS", "RESTARTS")]
    rows += [_unit_row(unit) for unit in status.units]
    if status is whole or status.units:
        lines += ["", *aligned(rows)]
    doing = [f"  {short(component.dn)}: {component.doing}" for component in status.components if component.doing]
    doing += [f"  {short(operation.dn)}: {operation.operation.name.lower()} {operation.waits_for}".rstrip()
              for operation in status.operations]  # fmt: skip
    if doing:
        lines += ["", "now:", *doing]
    return "\n".join(lines)


def _place(status: Status, su: str) -> str:
    node = next((unit.node for unit in status.units if unit.dn == su), "?")
    return f"{short(su)} on {node}"


def _unit_row(unit: UnitStatus) -> tuple[str, ...]:
    states = (unit.effective_admin.name, unit.presence.name, unit.readiness.name)
    return (short(unit.dn), unit.node, *map(_word, states), str(unit.restarts))


def _word(name: str) -> str:
    return name.lower().replace("_", "-")
