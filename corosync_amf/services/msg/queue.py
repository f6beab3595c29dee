"""An open message queue."""

import math
from typing import TYPE_CHECKING, Final, Self

import anyio

from corosync_amf.engine import Done
from corosync_amf.errors import AisError, BadHandle, Interrupt, NotExist, TimedOut, Transient
from corosync_amf.service import check_timeout

from . import messages as m
from .arguments import duration_of, thresholds_of
from .limits import check_thresholds
from .values import QueueCreationAttributes, QueueThresholds, Received, SenderId

if TYPE_CHECKING:
    from .client import MsgService

POLL_SECONDS: Final = 5.0
"""What a get with timeout 0 may take: it has to pass the total order, but waits for no message."""
WITHDRAW_SECONDS: Final = 5.0


class Queue:
    """A queue that this session has open. Get it with `MsgService.queue_open`; leave it with `close`.

    `async for message in queue` gets one message after the other, until the queue is closed. Every call raises
    BadHandle (SA_AIS_ERR_BAD_HANDLE) when the queue is closed, or was lost when the node came back from a partition.
    """

    creation_attributes: QueueCreationAttributes

    def __init__(self, service: "MsgService", number: int, name: str) -> None:
        """For `MsgService.queue_open`; open after `begin`."""
        self.name = name
        self.number = number
        self.is_open = False
        self.announced = 0
        self.unannounced = 0
        self._service = service
        self._attributes: m.Attributes | None = None
        self._is_lost = False
        self._taken: list[int] = []
        self._tells_taken = False
        self._parked = 0
        self._cancels = 0

    async def __aenter__(self) -> Self:
        self._check()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self.is_open:
            await self.close()

    # ---- life cycle

    def begin(self, opened: m.Opened) -> None:
        """The executive has opened it."""
        self._attributes = opened.attributes
        self.is_open = True

    def lose(self) -> None:
        """The executive has taken it away."""
        self._is_lost = True
        self.shut()

    def shut(self) -> tuple[int, ...]:
        """From now on it is closed here. Returned are the gets whose messages the application has."""
        self.is_open = False
        self._service.forget(self)
        taken, self._taken = tuple(self._taken), []
        return taken

    async def close(self) -> None:
        """Give the queue back. Unless it is persistent, it is deleted when its retention time is over.

        Who waits in `message_get` gets BadHandle.
        Source: saMsgQueueClose.
        """
        self._check()
        await self._service.give_back(m.Close((self.number,), self.shut()))

    async def retention_time_set(self, retention_time: float | None) -> None:
        """Set for how many seconds the queue outlives its close; None for ever.

        Raises: InvalidParam: negative; BadOperation (SA_AIS_ERR_BAD_OPERATION): persistent, or unlinked already.
        Source: saMsgQueueRetentionTimeSet.
        """
        self._check()
        await self._service.request(m.SetRetention(self.number, duration_of(retention_time)), Done)

    async def capacity_thresholds_set(self, thresholds: QueueThresholds) -> None:
        """Have operators told (NTF, state change) when the queue is nearly full, and when it has room again.

        Raises: InvalidParam: not available <= reached <= size in each area; Version: session older than B.03.
        Source: saMsgQueueCapacityThresholdsSet.
        """
        self._check()
        self._service.check_version("B.03")
        chosen = thresholds_of(thresholds)
        if self._attributes is not None:
            check_thresholds(chosen, self._attributes.size)
        await self._service.request(m.SetThresholds(self.number, chosen), Done)

    async def capacity_thresholds_get(self) -> QueueThresholds:
        """The thresholds of the queue.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): none were ever set; Version: session older than B.03.
        Source: saMsgQueueCapacityThresholdsGet.
        """
        self._check()
        self._service.check_version("B.03")
        return (await self._service.ask(m.GetThresholds(self.number), m.Thresholds)).thresholds

    # ---- messages

    async def message_get(self, *, timeout: float | None = None) -> Received:
        """Take the next message: the highest priority, and of that the oldest. Wait for one if need be.

        `timeout` in seconds; 0: only what is there; None: for ever. A get that times out or is cancelled takes no
        message: what was on its way to it is returned after all, or put back at the head of the queue.

        Raises: TimedOut (SA_AIS_ERR_TIMEOUT): no message came; Interrupt (SA_AIS_ERR_INTERRUPT): `message_cancel`;
        BadHandle: closed, also while waiting.
        Source: saMsgMessageGet.
        """
        self._check()
        check_timeout(timeout)
        waits = timeout != 0
        deadline = math.inf if timeout is None else anyio.current_time() + (timeout or POLL_SECONDS)
        await self._park(deadline)
        try:
            while True:
                self._check()
                got = await self._get(next(self._service.numbers), waits, deadline)
                if got is not None:
                    return received(got.body, got.send_time, got.sender_id)
                if not waits or anyio.current_time() >= deadline:
                    raise TimedOut("there was no message" if waits else "there is no message")
        finally:
            self._service.getting.release()

    async def _park(self, deadline: float) -> None:
        """Wait for one of the places that gets have among the session's requests."""
        cancels = self._cancels
        self._parked += 1
        try:
            with anyio.CancelScope(deadline=deadline) as scope:
                await self._service.getting.acquire()
            if scope.cancelled_caught:
                raise TimedOut("too many wait for messages on this session")
        finally:
            self._parked -= 1
        if cancels != self._cancels:
            self._service.getting.release()
            raise Interrupt("message_cancel was called")

    async def _get(self, number: int, waits: bool, deadline: float) -> m.Got | None:
        """One get; None: it came to nothing, or its outcome was lost and it was ended."""
        taken = tuple(self._taken)
        late: list[m.Got | m.Withdrawn] = []
        answer: m.Got | m.Withdrawn | None
        self._taken.clear()
        request = m.Get(self.number, number, waits, taken)
        timeout = None if deadline == math.inf else max(deadline - anyio.current_time(), 0.0)
        try:
            answer = await self._service.request(request, m.Got | m.Withdrawn, timeout=timeout, late=late.append)  # type: ignore[arg-type]
        except AisError as error:
            self._keep_taken(taken)
            if not isinstance(error, TimedOut):
                raise
            answer = await self._end_get(number, late)
        except BaseException:  # cancelled: whatever comes goes back
            self._keep_taken(taken)
            self._service.release(m.Withdraw(self.number, number, True))
            raise
        if not isinstance(answer, m.Got):
            return None
        self._check()  # closed meanwhile: the message was put back
        self._taken.append(number)
        self._tell_taken_soon()
        return answer

    async def _end_get(self, number: int, late: list[m.Got | m.Withdrawn]) -> m.Got | m.Withdrawn | None:
        """The time is over: learn whether the get was answered before that came to be known everywhere."""
        with anyio.CancelScope(shield=True):
            try:
                request = m.Withdraw(self.number, number, False)
                withdrawn = await self._service.request(request, m.Withdrawn, timeout=WITHDRAW_SECONDS)
            except AisError:
                withdrawn = None
        if withdrawn is not None and (late or not withdrawn.answered):
            return late[0] if withdrawn.answered else None
        self._service.release(m.Withdraw(self.number, number, True))
        return None

    def _keep_taken(self, taken: tuple[int, ...]) -> None:
        """The request that was to tell of these has perhaps not been applied: tell it again."""
        if taken and self.is_open:
            self._taken.extend(taken)
            self._tell_taken_soon()

    def _tell_taken_soon(self) -> None:
        """Unless the next get does, which costs nothing, tell the executive what the application has."""
        if not self._tells_taken:
            self._tells_taken = True
            self._service.session.soon(self._tell_taken)

    def _tell_taken(self) -> None:
        self._tells_taken = False
        if not self._taken or not self.is_open:
            return
        taken = tuple(self._taken)

        def outcome(answer: Done | AisError) -> None:
            if isinstance(answer, Transient) and self.is_open:
                self._taken.extend(taken)  # the next get says it again

        try:
            self._service.hand_over(m.Taken(self.number, taken), Done, outcome)
            self._taken.clear()
        except AisError:
            pass  # the session has much to do, or is over

    async def message_cancel(self) -> None:
        """End every `message_get` of this queue that waits with Interrupt.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): nobody waits.
        Source: saMsgMessageCancel.
        """
        self._check()
        parked = self._parked
        self._cancels += 1
        try:
            await self._service.request(m.Cancel(self.number), Done)
        except NotExist:
            if not parked:
                raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        try:
            return await self.message_get()
        except BadHandle:
            if self.is_open or self._is_lost:
                raise
            raise StopAsyncIteration from None

    def _check(self) -> None:
        self._service.check_open()
        if not self.is_open:
            what = "was lost when this node came back from a partition" if self._is_lost else "is closed"
            raise BadHandle(f"queue {self.name!r} {what}")


def received(body: m.Body, send_time: float, sender_id: int | None) -> Received:
    """The public form of a message that came."""
    sender = None if sender_id is None else SenderId(sender_id)
    return Received(body.data, body.type, body.version, body.priority, body.sender_name, send_time, sender)
