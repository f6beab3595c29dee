"""The executive as a program: what it refuses, and what a node that joins gets."""

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from corosync_amf.config import Machine, load_executive
from corosync_amf.development import development_cluster
from corosync_amf.lease import Lease
from corosync_amf.services import ckpt

pytestmark = pytest.mark.real

NOBODY = 65534
SECTIONS, SECTION_BYTES = 100, 1_000_000


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become two users at once")
@pytest.mark.parametrize("become", [lambda: os.setresuid(NOBODY, 0, 0), lambda: os.setresgid(NOBODY, 0, 0)])
def test_it_refuses_to_run_set_uid_or_set_gid(become, tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "aisexec", "-c", str(tmp_path / "absent.conf")],
        preexec_fn=become,
        capture_output=True,
        check=False,
    )
    assert refused.returncode == 1
    assert b"must not run set-uid or set-gid" in refused.stderr
    assert b"absent.conf" not in refused.stderr  # nothing was read before


def test_a_configuration_with_errors_starts_nothing_and_tells_them_all(tmp_path: Path) -> None:
    conf = tmp_path / "corosync.conf"
    conf.write_text("totem {\n\ttokn: 5\n\tversion: 3\n}\n")
    refused = subprocess.run([sys.executable, "-m", "aisexec", "-t", "-c", conf], capture_output=True, check=False)
    assert refused.returncode == 1
    assert b"corosync.conf:2:" in refused.stderr
    assert b"corosync.conf:3:" in refused.stderr


def lonely(tmp_path: Path, port: int, *, secauth: str = "off") -> Path:
    """A corosync.conf for one node on loopback."""
    conf = tmp_path / f"{port}.conf"
    interface = f"\tinterface {{\n\t\tbindnetaddr: 127.0.0.1\n\t\tmcastport: {port}\n\t}}\n"
    rest = f"persistence {{\n\tdirectory: {tmp_path / 'state'}\n}}\n"
    conf.write_text(f"totem {{\n\tsecauth: {secauth}\n{interface}}}\n{rest}")
    return conf


def start(conf: Path, socket: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    """An executive that is expected to refuse."""
    words = [sys.executable, "-m", "aisexec", "-c", str(conf)]
    given = {**os.environ, "COROSYNC_AMF_SOCKET": str(socket), **environ}
    return subprocess.run(words, env=given, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("length", "told"), [(None, "there is no key; run ais-keygen"), (64, "64 bytes instead of 128")]
)
def test_without_a_usable_key_one_line_says_what_to_do(length: int | None, told: str, tmp_path: Path) -> None:
    key = tmp_path / "authkey"
    if length is not None:
        key.write_bytes(bytes(length))
        key.chmod(0o400)
    conf = lonely(tmp_path, 5997, secauth="on")
    refused = start(conf, tmp_path / "sock", COROSYNC_TOTEM_AUTHKEY_FILE=str(key))
    assert refused.returncode == 1
    assert refused.stderr.endswith("\n")
    assert refused.stderr.splitlines()[-1].startswith(f"{key}: ")
    assert told in refused.stderr.splitlines()[-1]


def test_who_may_use_the_socket_may_be_numbers_and_must_exist(tmp_path: Path) -> None:
    conf = lonely(tmp_path, 5997)
    text = conf.read_text()
    conf.write_text(text + "uidgid {\n\tuid: 1234567\n\tgid: 0\n}\n")
    words = [sys.executable, "-m", "aisexec", "-t", "-c", str(conf)]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0
    conf.write_text(text + "uidgid {\n\tgid: no-such-group\n}\n")
    refused = start(conf, tmp_path / "sock")
    assert refused.returncode == 1
    assert refused.stderr.endswith(f"{conf}: error: uidgid: there is no group 'no-such-group' on this machine\n")


def test_with_amf_disabled_its_file_is_not_read(tmp_path: Path) -> None:
    conf, amf_conf = lonely(tmp_path, 5997), tmp_path / "amf.conf"
    amf_conf.write_text("what: ever\n")
    words = [sys.executable, "-m", "aisexec", "-t", "-c", str(conf), "-a", str(amf_conf)]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 1
    conf.write_text(conf.read_text() + "amf {\n\tmode: disabled\n}\n")
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0


def test_a_log_file_that_will_not_open_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    conf, log = lonely(tmp_path, 5997), tmp_path / "none" / "log"
    conf.write_text(conf.read_text() + f"logging {{\n\tto_logfile: yes\n\tlogfile: {log}\n}}\n")
    words = [sys.executable, "-m", "aisexec", "-t", "-c", str(conf)]
    refused = subprocess.run(words, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.endswith(f"{conf}: error: logging: '{log}' cannot be opened for writing\n")


def test_where_there_can_be_no_socket_one_line_says_why(tmp_path: Path) -> None:
    file, long = tmp_path / "file", tmp_path / ("a" * 120)
    file.touch()
    for socket, told in (
        (file, f"{file} exists and is no socket"),
        (file / "sock", f"no socket can be made at {file}/sock: "),
        (long, f"no socket can be made at {long}: AF_UNIX path too long"),
    ):
        refused = start(lonely(tmp_path, 5997), socket)
        assert refused.returncode == 1
        assert told in refused.stderr, refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_second_executive_leaves_the_first_and_its_lease_alone(tmp_path: Path) -> None:
    anyio.run(_start_a_second_one, tmp_path)


async def _start_a_second_one(tmp_path: Path) -> None:
    (tmp_path / "amf.conf").write_text("applications: {}\n")
    async with development_cluster(tmp_path / "amf.conf", count=1, directory=tmp_path / "cluster", fence=False) as one:
        await one.until(lambda status: len(status.cluster.members) == 1, "a member")
        path = one.nodes[0].socket_path
        other_port = await anyio.to_thread.run_sync(start, lonely(tmp_path, 5997), path)
        assert other_port.returncode == 1
        assert f"another executive listens at {path}" in other_port.stderr, other_port.stderr
        assert "Traceback" not in other_port.stderr
        lease = Lease(f"{path}.lease")
        assert lease.deadline > 0.0  # 0: one that stopped
        lease.close()
        assert len((await one.status()).cluster.members) == 1
        config, _ = load_executive(one.nodes[0].directory / "corosync.conf", {}, Machine())
        port = config.interfaces[0].mcast_port  # by multicast a node takes unicast one below
        same_port = await anyio.to_thread.run_sync(start, lonely(tmp_path, port + 1), tmp_path / "sock")
        assert same_port.returncode == 1
        assert f"127.0.0.1 port {port} on interface lo: the port is in use by" in same_port.stderr, same_port.stderr


PAIR = """totem {{
    key: the same words on both nodes
    crypto_cipher: chacha20
    crypto_hash: sha384
    nodeid: {node}
    interface {{
        bindnetaddr: 127.0.0.{node}
        mcastport: 6113
        member {{
            memberaddr: 127.0.0.1
        }}
        member {{
            memberaddr: 127.0.0.2
        }}
    }}
}}
persistence {{
    directory: {place}
}}
logging {{
    timestamp: off
}}
"""


def test_members_of_the_old_form_with_a_key_in_the_file_find_one_another(tmp_path: Path) -> None:
    nodes = []
    for node in (1, 2):
        conf = tmp_path / f"{node}.conf"
        conf.write_text(PAIR.format(node=node, place=tmp_path / str(node)))
        words = [sys.executable, "-m", "aisexec", "-c", str(conf)]
        environ = {**os.environ, "COROSYNC_AMF_SOCKET": str(tmp_path / f"{node}.sock")}
        nodes.append(subprocess.Popen(words, env=environ, stderr=subprocess.PIPE, text=True))
    try:
        for process in nodes:
            assert process.stderr is not None
            found = next((line for line in process.stderr if " of nodes 1, 2 is operational" in line), "")
            assert " info    Ring " in found
    finally:
        for process in nodes:
            process.kill()
            process.communicate()


def test_a_node_that_joins_gets_100_megabytes_of_checkpoints(tmp_path: Path) -> None:
    anyio.run(_join_a_full_cluster, tmp_path)


async def _join_a_full_cluster(tmp_path: Path) -> None:
    (tmp_path / "amf.conf").write_text("applications: {}\n")
    attributes = ckpt.CreationAttributes(max_sections=SECTIONS, max_section_size=SECTION_BYTES)
    async with development_cluster(tmp_path / "amf.conf", directory=tmp_path / "cluster", fence=False) as cluster:
        first, late = cluster.nodes[0], cluster.nodes[2]
        await cluster.until(lambda status: len(status.cluster.members) == 3, "three members")
        await cluster.stop_node(late.name)
        await cluster.until(lambda status: len(status.cluster.members) == 2, "two members")
        async with (
            ckpt.initialize(address=str(first.socket_path)) as service,
            service.checkpoint_open("large", creation_attributes=attributes) as large,
        ):
            for number in range(SECTIONS):
                await large.section_create(f"s{number}", bytes([number]) * SECTION_BYTES)
            cluster.start_node(late)
            await cluster.until(lambda status: len(status.cluster.members) == 3, "three members again")
            async with (
                ckpt.initialize(address=str(late.socket_path)) as there,
                there.checkpoint_open("large", ckpt.OpenFlags.READ) as copy,
            ):
                for number in range(SECTIONS):
                    assert await copy.read([ckpt.IoVector(f"s{number}")]) == [bytes([number]) * SECTION_BYTES]


def test_a_node_with_another_key_stays_outside_and_both_sides_say_so(tmp_path: Path) -> None:
    anyio.run(_join_with_another_key, tmp_path)


async def _join_with_another_key(tmp_path: Path) -> None:
    (tmp_path / "amf.conf").write_text("applications: {}\n")
    async with development_cluster(tmp_path / "amf.conf", directory=tmp_path / "cluster", fence=False) as cluster:
        first, stranger = cluster.nodes[0], cluster.nodes[2]
        await cluster.until(lambda status: len(status.cluster.members) == 3, "three members")
        await cluster.stop_node(stranger.name)
        key = tmp_path / "cluster" / "authkey"
        key.chmod(0o600)
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        cluster.start_node(stranger)
        with anyio.fail_after(30):
            while not all("Invalid digest" in node.log_path.read_text() for node in (first, stranger)):  # noqa: ASYNC110
                await anyio.sleep(0.05)
        assert len((await cluster.status()).cluster.members) == 2
