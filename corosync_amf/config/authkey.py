"""The cluster's key file."""

import hashlib
import stat
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 128


class KeyFileError(Exception):
    """The key file cannot be used; the text says why and what to do."""


def read_authkey(path: Path) -> bytes:
    """Return the cluster's key, 128 bytes.

    Raises: KeyFileError: there is no such file, it has another length, or group or others may read it.
    """
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            key = file.read(KEY_BYTES + 1)
    except FileNotFoundError:
        raise KeyFileError(f"{path}: there is no key; run ais-keygen on one node and copy the file to all") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from None
    if stat.S_IMODE(mode) & (stat.S_IRGRP | stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH):
        raise KeyFileError(f"{path}: group or others have access (mode {stat.S_IMODE(mode):04o}); chmod 0400 {path}")
    if len(key) != KEY_BYTES:
        found = f"{len(key)} bytes" if len(key) < KEY_BYTES else f"more than {KEY_BYTES} bytes"
        raise KeyFileError(f"{path}: has {found} instead of {KEY_BYTES}; make a new one with ais-keygen")
    return key


def authkey_of_text(text: str) -> bytes:
    """Return the key, 128 bytes, that `totem.key` stands for; every node must have the same text."""
    return hashlib.shake_256(b"corosync-amf totem.key" + text.encode()).digest(KEY_BYTES)
