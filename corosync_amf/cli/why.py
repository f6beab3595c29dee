"""`amf why OBJECT`: why it is as it is, and what led to it."""

import anyio
import click

from .listing import as_data, dated, is_data, output_option
from .objects import INSTANCE, resolve


@click.command("why")
@click.argument("object_", metavar="OBJECT")
@output_option
def command(object_: str, output: str) -> None:
    """Say what state OBJECT is in, what keeps it from being better, and what happened to it last."""
    anyio.run(_explain, object_, output)


async def _explain(name: str, output: str) -> None:
    from corosync_amf.services import amf

    async with amf.initialize() as service:
        dn = resolve(await service.status(), name, INSTANCE)
        lines = await service.why(dn)
    if is_data(output):
        click.echo(as_data(output, {"object": dn, "why": lines}))
        return
    for line in lines or ["nothing is known of it but that it is configured"]:
        click.echo(dated(line))
