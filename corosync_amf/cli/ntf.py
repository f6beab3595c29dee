"""`amf ntf`: an operator's view of NTF."""

import click


@click.group("ntf")
def command() -> None:
    """Look at, and work with, NTF."""
