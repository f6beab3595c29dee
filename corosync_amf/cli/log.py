"""`amf log`: an operator's view of LOG."""

import click


@click.group("log")
def command() -> None:
    """Look at, and work with, LOG."""
