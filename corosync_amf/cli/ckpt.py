"""`amf ckpt`: an operator's view of CKPT."""

import click


@click.group("ckpt")
def command() -> None:
    """Look at, and work with, CKPT."""
