"""`amf`: the command for people. One module per command, imported when it is used."""

import sys
from importlib import import_module
from typing import Final

import click

from corosync_amf._version import __version__

COMMANDS: Final = {
    "check": "check",
    "dev": "dev",
    "new": "new",
    "status": "status",
    "why": "why",
    **{name: name for name in ("ckpt", "clm", "evt", "lck", "log", "msg", "ntf")},
    **dict.fromkeys(("lock", "unlock", "lock-in", "unlock-in", "shutdown"), "admin"),
    **dict.fromkeys(("swap", "restart", "adjust", "repaired"), "admin"),
}
"""Each command's module in this package. A module with one command calls it `command`, else `COMMANDS[name]`."""

NOT_SETTLED: Final = 3
NO_QUORUM: Final = 5
"""Exit codes."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"corosync_amf.cli.{COMMANDS[cmd_name]}")
        found = module.command if hasattr(module, "command") else module.commands[cmd_name]
        assert isinstance(found, click.Command)
        return found


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="amf")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Scaffold, check, run and watch applications that survive faults with their state."""
    ctx.obj = debug


def main() -> None:
    """The entry point of `amf`: errors are one line on stderr, unless --debug asks for more, and an exit code."""
    from corosync_amf.errors import AisError

    try:
        cli()
    except (AisError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(code_of(error))


def code_of(error: Exception) -> int:
    """The exit code: 5, it did not happen for want of a quorum; 3, there was not enough time; else 1."""
    from corosync_amf.errors import TimedOut, TryAgain

    if isinstance(error, TimedOut | TryAgain) and "no quorum" in error.reason:
        return NO_QUORUM
    return NOT_SETTLED if isinstance(error, TimedOut) else 1
