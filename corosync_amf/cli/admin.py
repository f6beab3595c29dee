"""`amf lock|unlock|lock-in|unlock-in|shutdown|swap|restart|adjust|repaired OBJECT`: AMF's administrative operations."""

import sys
from typing import Final

import anyio
import click

from corosync_amf.ais import AdminOperation
from corosync_amf.errors import TimedOut

from . import NO_QUORUM, NOT_SETTLED, code_of
from .listing import dated
from .objects import GROUP, INSTANCE, resolve

OPERATIONS: Final = {
    "lock": (AdminOperation.LOCK, "Take work away from OBJECT: switched over where it may, else removed."),
    "unlock": (AdminOperation.UNLOCK, "Let OBJECT have work again."),
    "lock-in": (AdminOperation.LOCK_INSTANTIATION, "Terminate the processes of a locked OBJECT."),
    "unlock-in": (AdminOperation.UNLOCK_INSTANTIATION, "Instantiate OBJECT again; it stays locked."),
    "shutdown": (AdminOperation.SHUTDOWN, "Like lock, but let OBJECT finish the work that it has."),
    "swap": (AdminOperation.SI_SWAP, "Let active and standby of the service instance OBJECT change places."),
    "restart": (AdminOperation.RESTART, "Terminate and instantiate OBJECT, with the same work afterwards."),
    "adjust": (AdminOperation.SG_ADJUST, "Move the service group OBJECT to its preferred assignment."),
    "repaired": (AdminOperation.REPAIRED, "Say that a failed OBJECT is repaired."),
}

PREFERRED: Final = {AdminOperation.SI_SWAP: INSTANCE, AdminOperation.SG_ADJUST: GROUP}
SECONDS: Final = click.FloatRange(min=0)


def _command(name: str, operation: AdminOperation, text: str) -> click.Command:
    @click.command(name, help=text)
    @click.argument("object_", metavar="OBJECT")
    @click.option("--wait", type=SECONDS, default=60.0, show_default=True, help="Seconds to wait for the effect.")
    def command(object_: str, wait: float) -> None:
        anyio.run(_operate, object_, operation, wait)

    return command


commands: Final = {name: _command(name, *what) for name, what in OPERATIONS.items()}


async def _operate(name: str, operation: AdminOperation, wait: float) -> None:
    from corosync_amf.services import amf

    async with amf.initialize() as service:
        dn = resolve(await service.status(), name, PREFERRED.get(operation, ""))
        try:
            await service.admin(dn, operation, timeout=wait)
        except TimedOut as error:
            if code_of(error) == NO_QUORUM:
                raise  # nothing has begun
            lines = await service.why(dn)
            click.echo(f"{dn}: not settled within {wait:g} s; the operation goes on", err=True)
            for line in lines[-5:]:
                click.echo(f"  {dated(line)}", err=True)
            sys.exit(NOT_SETTLED)
    click.echo(f"{dn}: {operation.name.lower().replace('_', '-')} done")
