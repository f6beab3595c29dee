"""Files that a power failure leaves whole: as they were before, or as they were to be."""

import os
from pathlib import Path


def write_all(file: int, data: bytes) -> None:
    """Write `data` to a descriptor, however often that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def put_in_place(path: Path, data: bytes) -> int:
    """Put a file with `data` in the place of the one at `path`, and return it, open for appending, when it is on disk.

    Raises: OSError: the former file stands.
    """
    temporary = path.with_suffix(".new")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        write_all(file, data)
        os.fsync(file)
        temporary.replace(path)
        _sync_directory(path.parent)
    except BaseException:
        os.close(file)
        raise
    return file


def replace(path: Path, data: bytes) -> None:
    """`put_in_place`, and let go of the file. Raises: OSError."""
    os.close(put_in_place(path, data))


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
