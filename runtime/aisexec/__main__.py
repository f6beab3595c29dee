"""`aisexec`: the executive of one node; and `aisexec simulate`."""

import os
import sys


def main() -> None:
    """The entry point. It refuses to run set-uid or set-gid before it reads anything."""
    if os.getuid() != os.geteuid() or os.getgid() != os.getegid():
        sys.exit("aisexec: refused: it must not run set-uid or set-gid")
    if sys.argv[1:2] == ["simulate"]:
        from aisexec.simulation.command import simulate

        simulate(sys.argv[2:], prog_name="aisexec simulate")
    from aisexec.command import aisexec

    aisexec(prog_name="aisexec")


if __name__ == "__main__":
    main()
