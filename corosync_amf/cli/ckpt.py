"""`amf ckpt list|show|read|unlink`: an operator's view of checkpoints."""

import os
import sys
from typing import TYPE_CHECKING

import anyio
import click

from .listing import output_option, print_facts, print_rows, printable, shown

if TYPE_CHECKING:
    from corosync_amf.services.ckpt.client import CkptService
    from corosync_amf.services.ckpt.messages import CheckpointInfo


@click.group("ckpt")
def command() -> None:
    """Look at checkpoints, read what they hold, or take their names away."""


@command.command("list")
@output_option
def list_(output: str) -> None:
    """List the checkpoints of the cluster."""
    anyio.run(_list, output)


async def _list(output: str) -> None:
    from corosync_amf.services import ckpt

    async with ckpt.initialize() as service:
        found = await _all(service)
    rows = [
        (each.name, each.sections, each.size, _flags(each), each.attributes.persistent, each.handles, each.epoch)
        for each in found
    ]
    print_rows(output, ("NAME", "SECTIONS", "BYTES", "FLAGS", "PERSISTENT", "HANDLES", "EPOCH"), rows)


async def _all(service: "CkptService") -> "list[CheckpointInfo]":
    from corosync_amf.services.ckpt import messages as m

    found: list[CheckpointInfo] = []
    while page := (await service.ask(m.ListCheckpoints(found[-1].name if found else ""), m.Checkpoints)).checkpoints:
        found += page
    return found


def _flags(info: "CheckpointInfo") -> str:
    from corosync_amf.services.ckpt import CreationFlags

    flags = CreationFlags(info.attributes.creation_flags)
    return "+".join(str(flag.name).removeprefix("CHECKPOINT_") for flag in CreationFlags if flag in flags)


@command.command("show")
@click.argument("name")
@output_option
def show(name: str, output: str) -> None:
    """Show the attributes of the checkpoint NAME, who has it open and what it holds."""
    anyio.run(_show, name, output)


async def _show(name: str, output: str) -> None:
    from corosync_amf.services import ckpt
    from corosync_amf.services.ckpt import messages as m

    async with ckpt.initialize() as service:
        info = (await service.ask(m.ShowCheckpoint(name), m.Checkpoints)).checkpoints[0]
    attributes = info.attributes
    facts = {
        "name": info.name,
        "creation_flags": _flags(info),
        "persistent": attributes.persistent,
        "retention_duration": attributes.retention_duration,
        "sections": info.sections,
        "max_sections": attributes.max_sections,
        "max_section_size": attributes.max_section_size,
        "max_section_id_size": attributes.max_section_id_size,
        "bytes": info.size,
        "checkpoint_size": attributes.checkpoint_size,
        "changes": info.sequence,
        "epoch": info.epoch,
        "active_replica": info.active,
        "handles": info.handles,
        "open_on": list(info.nodes),
    }
    print_facts(output, facts)


@command.command("read")
@click.argument("name")
@click.argument("section", required=False)
@output_option
def read(name: str, section: str | None, output: str) -> None:
    """Print the sections of the checkpoint NAME, or the octets of one SECTION as they are."""
    anyio.run(_read, name, section, output)


async def _read(name: str, section: str | None, output: str) -> None:
    from corosync_amf.services import ckpt

    async with ckpt.initialize() as service, service.checkpoint_open(name, ckpt.OpenFlags.READ) as checkpoint:
        if section is not None:
            (data,) = await checkpoint.read([ckpt.IoVector(os.fsencode(section))])
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        content = await checkpoint.read_all()
    print_rows(
        output, ("SECTION", "BYTES", "DATA"), [(shown(key), len(data), shown(data)) for key, data in content.items()]
    )


@command.command("unlink")
@click.argument("name")
def unlink(name: str) -> None:
    """Take the name NAME away; the data live on for those who have them open."""
    anyio.run(_unlink, name)


command.add_command(unlink, "purge")


async def _unlink(name: str) -> None:
    from corosync_amf.services import ckpt

    async with ckpt.initialize() as service:
        await service.checkpoint_unlink(name)
    click.echo(f"{printable(name)}: unlinked")
