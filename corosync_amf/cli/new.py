"""`amf new NAME`: scaffold a redundant application."""

from pathlib import Path

import click

from corosync_amf._version import __version__
from corosync_amf.resources import SCAFFOLDS
from corosync_amf.scaffold import render, template


@click.command("new")
@click.argument("name")
@click.option("--template", "template_name", default="counter", show_default=True, help="Which scaffold.")
def command(name: str, template_name: str) -> None:
    """Make the folder NAME with a working redundant application and its tests."""
    target = Path(name)
    written = render(template(SCAFFOLDS, template_name), target.name, target, __version__)
    for path in written:
        click.echo(f"  {path}")
    click.echo(f"next: cd {name} && amf check && amf dev       (tests: python -m pytest)")
