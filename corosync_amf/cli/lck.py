"""`amf lck`: an operator's view of LCK."""

import click


@click.group("lck")
def command() -> None:
    """Look at, and work with, LCK."""
