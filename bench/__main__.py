"""`python -m bench NAME [--quick]`: run one benchmark, or all of them."""

import argparse
from dataclasses import replace
from importlib import import_module

from bench.common import Row, Table, print_table

BENCHMARKS = {
    "ring": "the embedded group: three processes on loopback",
    "ckpt": "checkpoint writes",
    "cpg": "group messages",
    "lck": "locks",
    "evt": "events from one publisher to three subscribers",
    "msg": "messages through a queue",
    "failover": "failover, switchover and start of an application",
}


def main() -> None:
    """Each benchmark is a module of this package with a function `run(quick: bool)` that returns a `Table`. Each is
    printed when it is there, and all together in the end."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = "; ".join(f"{name}: {what}" for name, what in BENCHMARKS.items())
    parser.add_argument("name", nargs="*", help=f"{names}. All when none is named.")
    parser.add_argument("--quick", action="store_true", help="a few seconds, only to see that it works")
    arguments = parser.parse_args()
    if unknown := set(arguments.name) - BENCHMARKS.keys():
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    everything: list[Row] = []
    for name in arguments.name or BENCHMARKS:
        table: Table = import_module(f"bench.{name}").run(quick=arguments.quick)
        print_table(table.title, table.rows)
        everything += [replace(row, figure=f"{name}: {row.figure.strip()}") for row in table.rows]
    if len(arguments.name) != 1:
        print_table("All of it", everything)


if __name__ == "__main__":
    main()
