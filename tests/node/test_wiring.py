"""What corosync.conf says reaches the layer that it is about."""

import pytest

from aisexec import wiring
from aisexec.groups.embedded import EmbeddedOptions
from aisexec.totem.seal import USUAL, Suite
from corosync_amf.config import InterfaceAddress, Machine, parse_amf, parse_executive

LAN = Machine(addresses=(InterfaceAddress("eth0", "10.0.0.2", 24), InterfaceAddress("eth1", "fd00::2", 64)))
KEY = bytes(128)


def options(text: str, key: bytes | None = KEY) -> EmbeddedOptions:
    config, _ = parse_executive(text, "corosync.conf", LAN, {})
    return wiring.embedded_options(config, key, 1.0)


def members(*addresses: str, bind: str) -> str:
    listed = "".join(f"member {{\nmemberaddr: {address}\n}}\n" for address in addresses)
    return f"totem {{\nnodeid: 7\ninterface {{\nbindnetaddr: {bind}\nmcastport: 6000\n{listed}}}\n}}\n"


def test_members_of_the_old_form_are_the_peers():
    found = options(members("10.0.0.1", "10.0.0.2", "10.0.0.3", bind="10.0.0.2"))
    assert found.multicast is None
    assert found.peers == {0x0A000001: ("10.0.0.1", 6000), 0x0A000003: ("10.0.0.3", 6000)}
    found = options(members("fd00::1", "fd00::2", "fd00::3", bind="fd00::2"))
    assert sorted(found.peers.values()) == [("fd00::1", 6000), ("fd00::3", 6000)]
    assert found.node_id not in found.peers


@pytest.mark.parametrize(
    ("directives", "suite"),
    [
        ("", USUAL),
        ("crypto_cipher: chacha20\ncrypto_hash: sha512\n", Suite("chacha20", "sha512")),
        ("crypto_cipher: aes192\ncrypto_hash: md5\n", USUAL),
        ("crypto_cipher: none\n", Suite("none")),
    ],
)
def test_cipher_and_hash_are_those_of_the_file(directives: str, suite: Suite):
    assert options(f"totem {{\n{directives}}}\n").suite == suite


def test_the_first_join_waits_for_some_of_the_time_that_the_file_gives():
    config, _ = parse_executive("totem {\nsend_join: 80\n}\n", "corosync.conf", LAN, {})
    assert wiring.embedded_options(config, KEY, 1.0, 0.25).ring["join_jitter"] == 0.02


PAIR = "nodelist {\nnode {\nring0_addr: 10.0.0.2\nname: a\n}\nnode {\nring0_addr: 10.0.0.3\nname: b\n}\n}\n"
APPLICATION = "applications:\n  shop: {plugin: 'm:C'}\n"


@pytest.mark.parametrize(
    ("text", "amf", "told"),
    [
        ("", APPLICATION, ["QUORUM: no votes are counted: every part of a split goes on"]),
        ("", "", []),
        (PAIR, "", ["QUORUM: the pair survives the loss of b, not that of a; three nodes"]),
        (PAIR + "quorum {\nauto_tie_breaker_node: highest\n}\n", "", ["QUORUM: the pair survives the loss of a, not"]),
        (PAIR + "quorum {\nauto_tie_breaker: no\n}\n", "", ["QUORUM: without a tie-breaker the pair survives the"]),
        (PAIR + "quorum {\ntwo_node_policy: available\n}\n", "", []),
        (PAIR.replace("a\n}", "a\nquorum_votes: 2\n}"), "", []),
    ],
)
def test_what_the_cluster_does_not_survive_is_told_at_the_start(text: str, amf: str, told: list[str]):
    config, _ = parse_executive(text, "corosync.conf", LAN, {})
    cluster, _ = parse_amf(amf, nodes=("a", "b"))
    found = [line for _, line in wiring.quorum_warnings(config, cluster)]
    assert len(found) == len(told)
    assert all(line.startswith(start) for line, start in zip(found, told, strict=True)), found


def test_without_a_key_no_cipher_is_asked_for():
    text = "totem {\nsecauth: off\nallow_insecure: yes\ncrypto_cipher: none\ncrypto_hash: none\n}\n"
    assert options(text, None).suite == USUAL
