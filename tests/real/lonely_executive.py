"""An executive that starts one component and then only waits; tests kill it."""

import sys
from pathlib import Path

import anyio

from aisexec.drive import open_driver
from aisexec.processes import Processes
from aisexec.spawning import Surroundings
from corosync_amf.engine import Request
from corosync_amf.services.amf.messages import Instantiate
from corosync_amf.services.amf.model import Component

DN = "safComp=a,safSu=u,safSg=g,safApp=p"


def ignore(requests: list[Request]) -> None:
    """Nobody is there to be told."""


async def main(folder: Path) -> None:
    async with open_driver() as driver:
        surroundings = Surroundings(7, "node-7", str(folder / "socket"), folder)
        processes = Processes(driver, surroundings, {DN: Component(dn=DN, name="a", plugin="plug:x")}, ignore)
        processes.run(Instantiate(DN, 1, 1, 30.0))
        await anyio.sleep_forever()


anyio.run(main, Path(sys.argv[1]))
