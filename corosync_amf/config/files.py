"""Reading the files that the environment names."""

from collections.abc import Mapping
from pathlib import Path

from corosync_amf.config.problems import Code, ConfigError, Report
from corosync_amf.config.syntax import split_lines
from corosync_amf.config.tree import FILE_BYTES_MAX, Text


def chosen(path: Path | None, environ: Mapping[str, str], names: tuple[str, ...], default: str) -> tuple[Path, bool]:
    """Return the file to read and whether somebody named it: the argument, then the first variable that is set."""
    if path is not None:
        return path, True
    for name in names:
        if environ.get(name):
            return Path(environ[name]), True
    return Path(default), False


def read_text(path: Path) -> str:
    """Return the text of a configuration file.

    Raises: ConfigError: it cannot be read, is too large, or is not UTF-8.
    """
    report = Report(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        report.error(Code.UNREADABLE, None, "", f"cannot be read: {reason}")
        raise ConfigError(report.problems) from None
    if len(data) > FILE_BYTES_MAX:
        report.error(Code.TOO_LARGE, None, "", f"is larger than {FILE_BYTES_MAX} bytes")
        raise ConfigError(report.problems)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = split_lines(data[: error.start].decode())
        at = Text("", len(before), len(before[-1]) + 1)
        report.error(Code.ENCODING, at, "", f"byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8")
        raise ConfigError(report.problems) from None
