"""Starts `ring_node.py` programs and follows what they tell."""

import json
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0


class RingNode:
    """One running program. `members`, `reason`, `count`, `digest` and `safe` are the last it told; `told` is all."""

    def __init__(self, options: dict[str, Any], prefix: Sequence[str] = ()) -> None:
        words = [*prefix, sys.executable, "-m", "tests.real.ring_node", json.dumps(options)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        self._rest = b""
        self.node = options["node_id"]
        self.told: list[dict[str, Any]] = []
        self.members: list[int] = []
        self.count = self.safe = 0
        self.digest = ""

    def tell(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(order.encode() + b"\n")
        self._process.stdin.flush()

    def until(self, condition: Callable[["RingNode"], bool]) -> None:
        """Read on until the condition holds.

        Raises: AssertionError with what was told when it does not within a minute, or the program ends.
        """
        assert self._process.stdout is not None
        deadline = time.monotonic() + PATIENCE
        while not condition(self):
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self._process.stdout], [], [], left)[0]
            data = self._process.stdout.read1(1 << 16) if ready else b""  # type: ignore[attr-defined]
            if not data:
                raise AssertionError(f"node {self.node}: in vain; last it told {self.told[-5:]}")
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._note(json.loads(line))

    def _note(self, fact: dict[str, Any]) -> None:
        self.told.append(fact)
        if fact.get("kind") == "regular":
            self.members, self.safe = fact["members"], 0
        self.count, self.digest = fact.get("count", self.count), fact.get("digest", self.digest)
        self.safe = fact.get("safe", self.safe)

    def counted(self, name: str, count: int) -> None:
        """Wait until a counter of this node has reached `count`, or is 0 again when `count` is 0."""
        self.tell(f"await {name} {count}")
        self.until(lambda node: node.told[-1] == {"awaited": name})

    def counters(self) -> dict[str, int]:
        """End the program (as by a crash, no goodbye) and get its counters."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.until(lambda node: "counters" in node.told[-1])
        counters: dict[str, int] = self.told[-1]["counters"]
        return counters

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass


class RingNodes(dict[int, RingNode]):
    """Nodes by id; leaving the `with` block ends them all."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.values():
            node.close()

    def formed(self, *members: int) -> None:
        for member in members:
            self[member].until(lambda node: node.members == list(members))

    def agreed(self, count: int, *members: int) -> None:
        """All these nodes delivered `count` messages, the same ones in the same order."""
        for member in members:
            self[member].until(lambda node: node.count >= count)
        assert {(self[member].count, self[member].digest) for member in members} == {(count, self[members[0]].digest)}
