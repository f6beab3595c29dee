import socket

import pytest

from aisexec.groups.embedded import EmbeddedGroup, EmbeddedOptions
from aisexec.groups.network import NetworkOptions
from aisexec.groups.sockets import TransportError
from aisexec.totem.events import PAYLOAD_BYTES_MAX
from tests.conformance.nets import KEY, loopback_address


def options(address: str, port: int = 0, second: NetworkOptions | None = None) -> EmbeddedOptions:
    return EmbeddedOptions(node_id=1, incarnation=1, address=address, port=port, key=KEY, second=second)


def test_payload_above_the_limit_is_refused_and_nothing_is_queued() -> None:
    group = EmbeddedGroup(options(loopback_address()))
    try:
        with pytest.raises(ValueError, match="is above"):
            group.multicast(bytes(PAYLOAD_BYTES_MAX + 1))
        assert group.backlog_bytes == 0
        group.multicast(b"123")
        assert group.backlog_bytes == 3
    finally:
        group.close()


def test_network_that_cannot_be_used_is_an_error_before_anything_runs() -> None:
    address = loopback_address()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((address, 0))
        with pytest.raises(TransportError, match="the port is in use"):
            EmbeddedGroup(options(address, holder.getsockname()[1]))


def test_second_network_that_cannot_be_used_gives_the_first_one_back() -> None:
    address = loopback_address()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    with pytest.raises(TransportError, match=r"203\.0\.113\.9 is not an address of this machine"):
        EmbeddedGroup(options(address, port, NetworkOptions(address="203.0.113.9", port=5407)))
    EmbeddedGroup(options(address, port)).close()


def test_authkey_of_a_wrong_length_is_refused() -> None:
    wrong = EmbeddedOptions(node_id=1, incarnation=1, address=loopback_address(), port=0, key=b"short")
    with pytest.raises(ValueError, match="128"):
        EmbeddedGroup(wrong)


def test_ring_options_out_of_range_are_refused() -> None:
    wrong = EmbeddedOptions(node_id=0, incarnation=1, address=loopback_address(), port=0, key=KEY)
    with pytest.raises(ValueError, match="node_id"):
        EmbeddedGroup(wrong)


def test_facts_of_a_group_that_does_not_run_yet_are_empty() -> None:
    group = EmbeddedGroup(options(loopback_address()))
    try:
        assert (dict(group.heard), dict(group.known_heard), dict(group.departed)) == ({}, {}, {})
        assert group.counters["udp_sent"] == 0
    finally:
        group.close()
