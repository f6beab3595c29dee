"""`amf clm`: an operator's view of CLM."""

import click


@click.group("clm")
def command() -> None:
    """Look at, and work with, CLM."""
