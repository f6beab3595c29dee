"""`amf msg`: an operator's view of MSG."""

import click


@click.group("msg")
def command() -> None:
    """Look at, and work with, MSG."""
