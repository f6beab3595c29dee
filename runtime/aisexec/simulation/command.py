"""`python -m aisexec simulate`: run seeds, and show what one of them does."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final

import click

from aisexec.simulation import cluster, ringworld, services

WORLDS: Final[dict[str, Callable[..., Any]]] = {
    "cluster": cluster.run_seed,
    "ring": ringworld.run_ring_seed,
    "services": services.run_services_seed,
}
CHUNK: Final = 8


@click.command("simulate")
@click.option("--seeds", default=200, show_default=True, help="How many seeds, counted from --first.")
@click.option("--first", default=0, show_default=True, help="The first seed.")
@click.option("--seed", type=int, help="This one seed only.")
@click.option("--world", type=click.Choice(sorted(WORLDS)), default="cluster", show_default=True)
@click.option("--services", "world", flag_value="services", help="The same as --world services.")
@click.option("--trace", is_flag=True, help="Print what happens (with --seed).")
@click.option("--jobs", default=2, show_default=True, help="Processes at once.")
def simulate(seeds: int, first: int, seed: int | None, world: str, trace: bool, jobs: int) -> None:
    """Run the production ring, nodes and engines through faults in simulated time; exit code 1 for a violation."""
    run = WORLDS[world]
    if seed is not None:
        result = run(seed, trace=trace)
        click.echo("\n".join([*result.trace, *result.faults, "violated" if result.faults else "no violation"]))
        sys.exit(bool(result.faults))
    started, failed, simulated = time.monotonic(), [], 0.0
    with ProcessPoolExecutor(jobs) as pool:
        for result in pool.map(run, range(first, first + seeds), chunksize=CHUNK):
            simulated += result.simulated_seconds
            if result.faults:
                failed.append(result.seed)
                click.echo(f"seed {result.seed}: {'; '.join(result.faults)[:2000]}")
                click.echo(f"  see: python -m aisexec simulate --world {world} --seed {result.seed} --trace")
    took = time.monotonic() - started
    click.echo(f"{seeds} seeds, {len(failed)} with a violation; {simulated:.0f} s simulated in {took:.0f} s")
    sys.exit(bool(failed))
