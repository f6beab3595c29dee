"""`ais-keygen`: make the key that the nodes of a cluster share."""

import errno
import os
from pathlib import Path
from typing import Final

import click

from corosync_amf.config.authkey import KEY_BYTES

DEFAULT_FILE: Final = Path("/etc/ais/authkey")


def write_key(path: Path, key: bytes, *, force: bool = False) -> None:
    """Write the key file, readable by its owner only; with `force` an existing one is renamed to `.old` first.

    Raises: FileExistsError: there is one and `force` is false. OSError: it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, f"{path.parent} is no directory") from None
    if force and os.path.lexists(path):
        path.rename(path.with_name(path.name + ".old"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    try:
        with open(descriptor, "wb") as file:
            if os.geteuid() == 0:
                os.fchown(descriptor, 0, 0)
            os.fchmod(descriptor, 0o400)
            file.write(key)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@click.command(name="ais-keygen", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-k", "file", type=click.Path(path_type=Path, dir_okay=False), help=f"Key file instead of {DEFAULT_FILE}."
)
@click.option("--force", is_flag=True, help="Replace an existing key; the old one is kept with the ending .old.")
def command(file: Path | None, force: bool) -> None:
    """Make the key of a cluster. Run it on one node and copy the file to every other one over a safe channel."""
    if file is None and os.geteuid() != 0:
        raise click.ClickException(f"only root may write {DEFAULT_FILE}; name another file with -k")
    path = file or DEFAULT_FILE
    click.echo(f"Gathering {KEY_BYTES * 8} bits for key")
    key = os.urandom(KEY_BYTES)
    click.echo(f"Writing corosync key to {path}.")
    try:
        write_key(path, key, force=force)
    except FileExistsError:
        raise click.ClickException(f"{path} exists and is left as it is; --force replaces it") from None
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None


def main() -> None:
    """Run the command."""
    command()


if __name__ == "__main__":
    main()
