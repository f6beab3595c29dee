"""One node of an embedded group as a program of its own, for tests with several processes.

    python ring_node.py '{"node_id": 1, "address": "127.0.0.1", "port": 5405, "peers": {"2": ["127.0.0.1", 5407]}, ...}'

Lines on standard input: `send COUNT BYTES` multicasts, `await COUNTER COUNT` tells when a counter has reached so
much (is 0, for 0), `leave` says goodbye and ends. Lines on standard output, JSON:
{"members": [...], "kind": ..., "reason": ...}, {"count": ..., "digest": ...} (of all that was delivered so far),
{"safe": ...}, {"counters": {...}} when it ends.
"""

import hashlib
import json
import sys
from typing import Any

import anyio
import anyio.abc

from aisexec.groups import Configuration, Delivered, Happening
from aisexec.groups.embedded import EmbeddedGroup, EmbeddedOptions
from aisexec.groups.network import NetworkOptions
from aisexec.groups.sockets import TransportError
from aisexec.totem.timeouts import Timeouts


def tell(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def options_of(values: dict[str, Any]) -> EmbeddedOptions:
    token = values.pop("token", 1.0)
    second = values.pop("second", None)
    return EmbeddedOptions(
        key=bytes.fromhex(values.pop("key", "")) or None,
        timeouts=Timeouts.from_token(token),
        second=None if second is None else NetworkOptions(**network_of(second)),
        **network_of(values),
    )


def network_of(values: dict[str, Any]) -> dict[str, Any]:
    peers = {int(node): (address, port) for node, (address, port) in values.get("peers", {}).items()}
    multicast = tuple(values["multicast"]) if values.get("multicast") else None
    return values | {"peers": peers, "multicast": multicast}


class Teller:
    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._count = 0

    def deliver(self, happenings: list[Happening]) -> None:
        for happening in happenings:
            match happening:
                case Configuration(kind, _, members, reason):
                    tell(members=list(members), kind=kind.value, reason=reason)
                case Delivered(messages):
                    for sender, payload in messages:
                        self._digest.update(b"%d %d " % (sender, len(payload)) + payload)
                    self._count += len(messages)
                    tell(count=self._count, digest=self._digest.hexdigest())
                case _:
                    tell(safe=happening.count)


async def counted(group: EmbeddedGroup, name: str, count: int) -> None:
    while True:
        found = group.counters[name]
        if found >= count if count else found == 0:
            return
        await anyio.sleep(0.02)


async def obey(group: EmbeddedGroup, tasks: anyio.abc.TaskGroup) -> None:
    async for line in anyio.wrap_file(sys.stdin):
        match line.split():
            case ["send", count, size]:
                for number in range(int(count)):
                    group.multicast((b"%d " % number).ljust(int(size), b"."))
            case ["await", name, count]:
                await counted(group, name, int(count))
                tell(awaited=name)
            case ["leave"]:
                await group.leave()
                break
            case _:
                tell(error=f"what is {line!r}?")
    tell(counters=group.counters)
    tasks.cancel_scope.cancel()


async def main() -> None:
    try:
        group = EmbeddedGroup(options_of(json.loads(sys.argv[1])))
    except TransportError as error:
        tell(error=str(error))
        return
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(obey, group, tasks)
        await group.run(Teller().deliver)


if __name__ == "__main__":
    anyio.run(main)
