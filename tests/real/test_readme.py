"""The README is followed to the letter: its component, its three machines; and these over multicast, IPv4 and IPv6."""

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from corosync_amf import ckpt
from corosync_amf._version import __version__
from corosync_amf.ais import RedundancyModel
from corosync_amf.checkpointing import checkpoint_name, decode
from corosync_amf.development import DevelopmentCluster, development_cluster
from corosync_amf.resources import SCAFFOLDS
from corosync_amf.scaffold import render, template
from tests.real.installed import Installed, Machine, fully_assigned

pytestmark = pytest.mark.real

README = (Path(__file__).parents[2] / "README.md").read_text()


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


SECTION = section("On three machines")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
ADDRESSES = ["192.168.10.1", "192.168.10.2", "192.168.10.3"]
SALES = """

import anyio


async def next_sale():
    await anyio.sleep(0.02)
    return 1
"""
AMF_CONF = """
nodes: {node-a: {}, node-b: {}, node-c: {}}
applications:
  shop:
    plugin: shop.counter:Counter
    checkpoint: {mode: on-change, hot: true}
"""
MULTICAST = """
totem {
    version: 2
    cluster_name: shop
    transport: udp
    %s
    interface {
        bindnetaddr: %s
    }
}
quorum {
    expected_votes: 3
}
"""


def blocks(text: str) -> list[tuple[str, str]]:
    """The fenced blocks of a section, with what stands before each: `(the text since the last one, the block)`."""
    found, end = [], 0
    for match in FENCE.finditer(text):
        indent = len(match[1])
        block = "".join(line[indent:] if line.strip() else line for line in match[3].splitlines(keepends=True))
        found.append((text[end : match.start()], block))
        end = match.end()
    return found


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Installed]:
    render(template(SCAFFOLDS, "counter"), "shop", tmp_path / "shop", __version__)
    with Installed(tmp_path, tmp_path / "shop") as machines:
        yield machines


def share_key(machines: Installed) -> None:
    for number in (2, 3):
        shutil.copy2(machines[1].ais / "authkey", machines[number].ais / "authkey")


def lose_and_regain_the_active_one(machines: Installed, status: Any) -> None:
    """The link of the active one's machine goes down and comes back: the others carry on, and all is well again."""
    lost = machines.active(status)
    other = next(machine for machine in machines.values() if machine is not lost)
    machines.network.link_down(lost.number)
    status = machines.until(
        other, lambda now: bool(now["instances"][0]["active"]) and machines.active(now) is not lost, "takeover"
    )
    successor = machines.active(status)
    machines.network.link_up(lost.number)
    machines.until(lost, fully_assigned, "full assignment after the link is back")
    machines.until(other, fully_assigned, "full assignment after the link is back")
    assert stamp(lost.lines("LEASE: over")[0]) < stamp(asked_active(successor)[-1])


def stamp(line: str) -> str:
    return line.split()[0]


def asked_active(machine: Machine) -> list[str]:
    return machine.lines(f"{'su1' if machine.number == 1 else 'su2'}/shop: ACTIVE asked for")


def check_counting(machines: Installed) -> None:
    """Each time the counter became active it went on from more than the time before."""
    lines = sorted(line for machine in machines.values() for line in machine.lines("active, going on from "))
    begun = [int(line.rpartition(" ")[2]) for line in lines]
    assert len(begun) >= 2
    assert begun[0] == 0
    assert all(later > earlier for earlier, later in pairwise(begun)), lines


async def sold(cluster: DevelopmentCluster) -> int:
    """What the checkpoint of the shop holds."""
    name = checkpoint_name("", "safCsi=shop,safSi=shop,safApp=shop", RedundancyModel.TWO_N)
    address = str(cluster.nodes[2].socket_path)
    async with ckpt.initialize(address=address) as service, service.checkpoint_open(name) as checkpoint:
        sections = await checkpoint.read_all()
    return decode(sections[b"total"], int) if b"total" in sections else 0


async def ten_lines_are_killed(directory: Path) -> list[int]:
    """The totals that were seen, one after the other, while the component was killed again and again."""
    totals = [0]
    environ = {"PYTHONPATH": str(directory)}
    async with development_cluster(directory / "amf.conf", environ=environ) as cluster:
        for kill in range(4):
            await cluster.until_assigned()
            if kill:
                await cluster.breakdown(await cluster.kill_component())
            enough = totals[-1] + 10
            with anyio.fail_after(30):
                while totals[-1] < enough:
                    totals.append(await sold(cluster))
                    await anyio.sleep(0.02)
        assert "a task failed" not in "".join(node.log_path.read_text() for node in cluster.nodes)
    return totals


def test_ten_lines_of_the_readme_go_on_where_the_killed_one_was(tmp_path: Path) -> None:
    (_, code), (_, amf_conf) = blocks(section("A component in ten lines"))
    assert "plugin: shop.counter:Counter" in amf_conf
    (tmp_path / "amf.conf").write_text(amf_conf)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "counter.py").write_text(code + SALES)
    totals = anyio.run(ten_lines_are_killed, tmp_path)
    assert totals[-1] >= 40
    assert totals == sorted(totals)


def test_readme_names_the_component_that_amf_new_makes(tmp_path: Path) -> None:
    render(template(SCAFFOLDS, "counter"), "shop", tmp_path / "shop", __version__)
    (named,) = re.findall(r"plugin: (\S+)", SECTION)
    assert re.findall(r"plugin: (\S+)", (tmp_path / "shop" / "amf.conf").read_text()) == [named]
    assert set(re.findall(r"ring0_addr: (\S+)", SECTION)) == set(ADDRESSES)


@pytest.mark.namespaces
def test_three_machines_set_up_as_the_readme_says_survive_the_loss_of_one(machines: Installed) -> None:
    make_key, main_conf, amf_conf, start, watch = blocks(SECTION)
    for machine, address in zip(machines.values(), ADDRESSES, strict=True):
        machines.network.ip(machine.number, "addr", "add", f"{address}/24", "dev", "eth0")
    machines[1].succeed(make_key[1])
    assert "`/etc/ais/authkey`" in make_key[0] + main_conf[0]
    share_key(machines)
    for machine in machines.values():
        for before, text in (main_conf, amf_conf):
            file = re.findall(r"`/etc/ais/([a-z.]+)`:\s*$", before)[0]
            (machine.ais / file).write_text(text)
    *checks, run = start[1].splitlines()
    for machine in machines.values():
        for check in checks:
            checked = machine.run(check)
            assert (checked.returncode, checked.stderr) == (0, "")
        machine.start(run)
    show, swap = watch[1].splitlines()
    status = machines.until(machines[3], fully_assigned, "full assignment")
    active = machines.active(status)
    assert "fully-assigned" in machines[3].succeed(show)
    machines[3].succeed(swap)
    status = machines.until(machines[2], fully_assigned, "full assignment after the swap")
    assert machines.active(status) is not active
    lose_and_regain_the_active_one(machines, status)
    check_counting(machines)


@pytest.mark.namespaces
@pytest.mark.parametrize("version", ["ipv4", "ipv6"])
def test_three_machines_find_one_another_by_multicast_and_survive_the_loss_of_one(
    machines: Installed, version: str
) -> None:
    machines[1].succeed("ais-keygen")
    share_key(machines)
    for machine in machines.values():
        number = machine.number
        own = ("", "10.77.0.0") if version == "ipv4" else (f"nodeid: {number}", machines.network.ipv6(number))
        (machine.ais / "corosync.conf").write_text(MULTICAST % own)
        (machine.ais / "amf.conf").write_text(AMF_CONF)
        machine.start()
    machines[1].succeed("aisexec -t && amf check")
    status = machines.until(machines[3], fully_assigned, "full assignment")
    lose_and_regain_the_active_one(machines, status)
    check_counting(machines)
