"""`amf evt`: an operator's view of EVT."""

import click


@click.group("evt")
def command() -> None:
    """Look at, and work with, EVT."""
