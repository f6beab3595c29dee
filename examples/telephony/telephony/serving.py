"""What an instance has open while it serves: the SIP socket, the relay and the file of records, and the loop over them.

The loop takes everything that waits on the socket, makes all the changes of it safe in one write, and only then sends.
While that write is on its way the next datagrams gather in the kernel, so the busier the server is, the more calls
share a write.
"""

import errno
import logging
import resource
import socket
import time
from collections.abc import Mapping
from typing import Any, Protocol

import anyio
import anyio.to_thread

from telephony.calls import Calls
from telephony.ledger import Ledger
from telephony.model import Bill, Call, Cdr, Commit, Send
from telephony.relay import Relay
from telephony.settings import Settings

DRAIN_MAX = 64  # datagrams in one turn, and so in one write
DATAGRAM_MAX = 65536
BUFFER_BYTES = 4 * 2**20
BIND_TIMEOUT = 3.0  # the predecessor must be gone by then
BIND_PAUSE = 0.002
STOP_TIMEOUT = 2.0
IDLE = 0.25  # how long things that nobody waits for may lie


class Context(Protocol):
    """What is used of the component's context."""

    @property
    def log(self) -> logging.Logger: ...
    async def checkpoint(self, key_or_mapping: Mapping[str, Any], /) -> None: ...
    def guard(self) -> None: ...


class Serving:
    """Made by `begin`; then `run` it until `stop`."""

    def __init__(self, settings: Settings, ctx: Context, sip_socket: socket.socket) -> None:
        self._settings = settings
        self._ctx = ctx
        self._socket = sip_socket
        self._relay = Relay(settings.service.address[0], ctx.log)
        self._ledger = Ledger(settings.cdr) if settings.cdr is not None else None
        self.calls = Calls(settings.service, self._relay.last_audio)
        self.calls.rejected = self._relay.refused
        self._to_bill: list[Cdr] = []
        self._billed: list[str] = []
        self._something_to_bill = anyio.Event()
        self._scope = anyio.CancelScope()
        self._closed = False
        self._ended = anyio.Event()

    @classmethod
    async def begin(cls, settings: Settings, ctx: Context, records: Mapping[str, Call]) -> "Serving":
        """Take the address and go on with these calls. Raises `OSError`: the address stays taken."""
        _allow_many_files()
        serving = cls(settings, ctx, await _bind(settings.service.address))
        serving.calls.adopt(records.values())
        for call in records.values():
            serving._relay.follow(call.id, call)
        now = time.time()
        effects = serving.calls.takeover(now)
        if serving._ledger is not None and any(isinstance(then, Bill) for e in effects for then in e.then):
            serving._ledger.written_before()
        serving._carry_out(effects)
        return serving

    async def run(self) -> None:
        """Serve until it is stopped or cancelled; then everything is closed."""
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._serve)
                    tasks.start_soon(self._forward)
                    tasks.start_soon(self._bill)
        finally:
            self._close()
            self._ended.set()

    async def stop(self) -> None:
        """Let go of the address."""
        self._scope.cancel()
        with anyio.move_on_after(STOP_TIMEOUT):
            await self._ended.wait()
        self._close()

    async def _serve(self) -> None:
        while True:
            await self._work()
            now = time.time()
            effects: list[Commit] = []
            datagrams = self._drain()
            for data, source in datagrams:
                effects += self.calls.handle(data, source, now)
            for name, side in self._relay.first_heard():
                effects += self.calls.audible(name, side, now)
            billed, self._billed = self._billed, []
            effects += self.calls.billed(billed, now)
            # Timers come after all that waits on the socket: nothing is repeated whose answer is here already.
            if len(datagrams) < DRAIN_MAX and (self.calls.next_deadline() or now + 1) <= now:
                effects += self.calls.wake(now)
            if effects:
                await self._commit(effects)

    async def _forward(self) -> None:
        """Audio goes on while the loop waits for a write."""
        while True:
            await anyio.wait_readable(self._relay)
            self._relay.pump(time.time())

    async def _bill(self) -> None:
        """Write the records of calls that have ended, outside the loop because the disk may be slow."""
        while True:
            await self._something_to_bill.wait()
            self._something_to_bill = anyio.Event()
            records, self._to_bill = self._to_bill, []
            if self._ledger is not None:
                self._ctx.guard()
                await anyio.to_thread.run_sync(self._ledger.append, records)
            self._billed += [record.id for record in records]

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._socket.close()
        self._relay.close()
        if self._ledger is not None:
            self._ledger.close()

    async def _work(self) -> None:
        """Wait until there is something to do."""
        deadline = self.calls.next_deadline()
        wait = IDLE if deadline is None else min(IDLE, max(0.0, deadline - time.time()))
        with anyio.move_on_after(wait):
            await anyio.wait_readable(self._socket)

    def _drain(self) -> list[tuple[bytes, tuple[str, int]]]:
        datagrams: list[tuple[bytes, tuple[str, int]]] = []
        while len(datagrams) < DRAIN_MAX:
            try:
                datagrams.append(self._socket.recvfrom(DATAGRAM_MAX))
            except BlockingIOError:
                break
            except OSError:  # an ICMP message: somebody we sent to is gone
                continue
        return datagrams

    async def _commit(self, effects: list[Commit]) -> None:
        changes: dict[str, bytes | None] = {}
        for effect in effects:
            changes.update(effect.changes)
        if changes and self._settings.checkpoint:
            await self._ctx.checkpoint(changes)
        self._carry_out(effects)

    def _carry_out(self, effects: list[Commit]) -> None:
        for effect in effects:
            for name in effect.names:
                self._relay.follow(name, self.calls.calls.get(name))
            for then in effect.then:
                if isinstance(then, Send):
                    try:
                        self._socket.sendto(then.data, then.to)
                    except OSError as error:  # like a lost datagram: it is sent again if need be
                        self._ctx.log.debug("sending to %s:%d: %s", *then.to, error)
                else:
                    self._to_bill.append(then.record)
                    self._something_to_bill.set()


async def _bind(address: tuple[str, int]) -> socket.socket:
    """The service address, as soon as the predecessor has let go of it."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    deadline = time.monotonic() + BIND_TIMEOUT
    while True:
        try:
            opened.bind(address)
            return opened
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL) or time.monotonic() > deadline:
                opened.close()
                raise OSError(error.errno, f"{address[0]}:{address[1]}: {error.strerror}") from None
        except BaseException:
            opened.close()
            raise
        await anyio.sleep(BIND_PAUSE)


def _allow_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
