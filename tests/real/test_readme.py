"""The README is followed to the letter, on three machines; and the same cluster over multicast, IPv4 and IPv6."""

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from corosync_amf._version import __version__
from corosync_amf.resources import SCAFFOLDS
from corosync_amf.scaffold import render, template
from tests.real.installed import Installed, Machine, fully_assigned

pytestmark = [pytest.mark.real, pytest.mark.namespaces]

README = (Path(__file__).parents[2] / "README.md").read_text()
SECTION = README.partition("\n## On three machines\n")[2].partition("\n## ")[0]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
ADDRESSES = ["192.168.10.1", "192.168.10.2", "192.168.10.3"]
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


def blocks() -> list[tuple[str, str]]:
    """The fenced blocks of the section, with what stands before each: `(the text since the last one, the block)`."""
    found, end = [], 0
    for match in FENCE.finditer(SECTION):
        indent = len(match[1])
        text = "".join(line[indent:] if line.strip() else line for line in match[3].splitlines(keepends=True))
        found.append((SECTION[end : match.start()], text))
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


def test_readme_names_the_component_that_amf_new_makes(tmp_path: Path) -> None:
    render(template(SCAFFOLDS, "counter"), "shop", tmp_path / "shop", __version__)
    (named,) = re.findall(r"plugin: (\S+)", SECTION)
    assert re.findall(r"plugin: (\S+)", (tmp_path / "shop" / "amf.conf").read_text()) == [named]
    assert set(re.findall(r"ring0_addr: (\S+)", SECTION)) == set(ADDRESSES)


def test_three_machines_set_up_as_the_readme_says_survive_the_loss_of_one(machines: Installed) -> None:
    make_key, main_conf, amf_conf, start, watch = blocks()
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
