"""Which process holds a UDP port, as far as /proc tells."""

import os
from pathlib import Path

PROCESSES_MAX = 10_000


def holder_of_udp_port(port: int) -> str:
    """`name (pid 123)` of the process that has a UDP socket on `port`, or an empty text when that is not to be seen."""
    inodes = _inodes(port)
    if not inodes:
        return ""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    for process in processes[:PROCESSES_MAX]:
        try:
            if any(os.readlink(entry) in wanted for entry in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:  # another user's, or gone
            continue
    return ""


def _inodes(port: int) -> set[str]:
    found: set[str] = set()
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if len(columns) > 9 and columns[1].endswith(f":{port:04X}"):
                found.add(columns[9])
    return found
