"""Sending messages, asking for replies, and giving them."""

import itertools
import math
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar

import anyio

from corosync_amf.engine import Done, Request
from corosync_amf.errors import AisError, NotExist, QueueFull, QueueNotAvailable, TimedOut
from corosync_amf.service import Pending, ServiceClient, check_flags, check_timeout
from corosync_amf.session import Session

from . import messages as m
from .arguments import body_of, name_of, sender_id_of
from .events import MessageDelivered
from .limits import check_body, check_name
from .queue import WITHDRAW_SECONDS, received
from .values import MESSAGE_BYTES_MAX, REPLY_BYTES_MAX, AckFlags, Callback, Message, Received, SenderId

WAITING_PLACES: Final = 96
"""Of the 256 requests that a session may have under way, so many may be gets, and so many senders that wait for a
reply: what they wait for needs a place, too."""
SILENT: Final = (NotExist, QueueFull, QueueNotAvailable)

T = TypeVar("T")


class SendingClient(ServiceClient):
    """The part of a session with the message service that sends."""

    numbers: ClassVar = itertools.count(1)
    """Of queues, gets, and messages: no number comes twice on one connection."""

    def __init__(self, session: Session, **arguments: Any) -> None:
        """For `initialize`."""
        super().__init__(session, **arguments)
        self._settled: list[int] = []
        self._receiving = anyio.Semaphore(WAITING_PLACES, fast_acquire=True)

    async def message_send(self, destination: str, message: Message, *, timeout: float | None = 10.0) -> None:
        """Send to a queue or a group; return when every member of the cluster holds the message.

        It arrives once, however often the library had to try. `timeout` in seconds, None: for ever.

        Raises: InvalidParam: priority, destination, message; TooBig: over 1 MiB; NotExist (SA_AIS_ERR_NOT_EXIST): no
        such queue or group; QueueFull; QueueNotAvailable: the group has no queues; TimedOut: it may still arrive.
        Source: saMsgMessageSend.
        """
        self.check_open()
        name, body = _sendable(destination, message, timeout)
        _check_sizes(name, body)
        await self._numbered(lambda number, settled: m.Send(number, settled, name, body), Done, timeout)

    def message_send_async(
        self,
        destination: str,
        message: Message,
        ack_flags: AckFlags = AckFlags.NONE,
        *,
        invocation: int | None = None,
    ) -> Pending[None]:
        """`message_send` without waiting. With DELIVERED_ACK the outcome is also an event, MessageDelivered; without,
        a message that finds no queue, or no room, is lost silently.

        Raises: BadFlags; InvalidParam; Init: DELIVERED_ACK without Callback.DELIVERED; TooBig; TryAgain. Others: in the
        outcome.
        Source: saMsgMessageSendAsync.
        """
        self.check_open()
        flags, number = check_flags(ack_flags, AckFlags, "ack_flags"), self.invocation(invocation)
        name, body = _sendable(destination, message, None)
        self._check_ack(flags)
        _check_sizes(name, body)
        return self._hand_over_once(lambda each, settled: m.Send(each, settled, name, body), flags, number)

    async def message_send_receive(
        self, destination: str, message: Message, *, timeout: float | None = 10.0
    ) -> Received:
        """Send, and return the reply of the receiver.

        Raises: as `message_send`; InvalidParam: a BROADCAST group; NotExist also: the queue was deleted, or the message
        discarded, before it was answered; TimedOut: no reply in time (a later one is refused to the receiver).
        Source: saMsgMessageSendReceive.
        """
        self.check_open()
        name, body = _sendable(destination, message, timeout)
        _check_sizes(name, body)
        deadline = math.inf if timeout is None else anyio.current_time() + timeout
        with anyio.CancelScope(deadline=deadline) as scope:
            await self._receiving.acquire()
        if scope.cancelled_caught:
            raise TimedOut("too many wait for replies on this session")
        try:
            left = None if timeout is None else max(0.0, deadline - anyio.current_time())
            answered = await self._answer_of(name, body, left)
        finally:
            self._receiving.release()
        return received(answered.body, answered.send_time, None)

    async def _answer_of(self, name: str, body: m.Body, timeout: float | None) -> m.Answered:
        late: list[m.Answered] = []
        number = next(self.numbers)
        try:
            return await self._numbered(
                lambda each, settled: m.SendReceive(each, settled, name, body), m.Answered, timeout, number, late.append
            )
        except AisError as error:
            if not isinstance(error, TimedOut):
                raise
            with anyio.CancelScope(shield=True):
                try:
                    await self.request(m.WithdrawReceive(number), m.Withdrawn, timeout=WITHDRAW_SECONDS)
                except AisError:
                    self.release(m.WithdrawReceive(number))
            if late:
                return late[0]
            raise
        except BaseException:
            self.release(m.WithdrawReceive(number))
            raise

    async def message_reply(self, message: Message, sender_id: SenderId, *, timeout: float | None = 10.0) -> None:
        """Answer a message that came from `message_send_receive`; its sender gets the reply past all queues.

        Raises: InvalidParam: sender_id None, message; TooBig: over 1 MiB; NotExist (SA_AIS_ERR_NOT_EXIST): unknown,
        answered already, or the sender waits no more; TimedOut.
        Source: saMsgMessageReply.
        """
        self.check_open()
        body, sender = body_of(message), sender_id_of(sender_id)
        check_timeout(timeout)
        check_body(body, REPLY_BYTES_MAX)
        await self._numbered(lambda number, settled: m.Respond(number, settled, sender, body), Done, timeout)

    def message_reply_async(
        self,
        message: Message,
        sender_id: SenderId,
        ack_flags: AckFlags = AckFlags.NONE,
        *,
        invocation: int | None = None,
    ) -> Pending[None]:
        """`message_reply` without waiting; the outcome as of `message_send_async`.

        Raises: BadFlags; InvalidParam; Init: DELIVERED_ACK without Callback.DELIVERED; TooBig; TryAgain.
        Source: saMsgMessageReplyAsync.
        """
        self.check_open()
        flags, number = check_flags(ack_flags, AckFlags, "ack_flags"), self.invocation(invocation)
        body, sender = body_of(message), sender_id_of(sender_id)
        self._check_ack(flags)
        check_body(body, REPLY_BYTES_MAX)
        return self._hand_over_once(lambda each, settled: m.Respond(each, settled, sender, body), flags, number)

    def _check_ack(self, flags: AckFlags) -> None:
        if flags & AckFlags.DELIVERED_ACK:
            self.check_callback(Callback.DELIVERED)

    async def _numbered(
        self,
        make: Callable[[int, tuple[int, ...]], Request],
        reply: type[T],
        timeout: float | None,
        number: int | None = None,
        late: Callable[[T], object] | None = None,
    ) -> T:
        """Ask for what must happen once. When the executive does not know whether it has, ask again: it is told apart
        by its number."""
        if number is None:
            number = next(self.numbers)
        deadline = math.inf if timeout is None else anyio.current_time() + timeout
        request = make(number, self._take_settled())
        try:
            while True:
                left = None if timeout is None else max(0.0, deadline - anyio.current_time())
                try:
                    return await self.request(request, reply, timeout=left, late=late)
                except TimedOut:
                    if not self.retry or anyio.current_time() >= deadline:
                        raise
        finally:
            self._settled.append(number)

    def _take_settled(self) -> tuple[int, ...]:
        settled = tuple(self._settled)
        self._settled.clear()
        return settled

    def _hand_over_once(
        self, make: Callable[[int, tuple[int, ...]], Request], flags: AckFlags, invocation: int
    ) -> Pending[None]:
        number, settled = next(self.numbers), self._take_settled()

        def outcome(value: Done | AisError) -> None:
            self._settled.append(number)
            error = value if isinstance(value, AisError) else None
            if flags & AckFlags.DELIVERED_ACK:
                self.tell(MessageDelivered(invocation, error))
            elif isinstance(error, SILENT):
                return
            if error is not None:
                raise error

        try:
            return self.hand_over(make(number, settled), Done, outcome, invocation=invocation)
        except AisError:
            self._settled.extend(settled)
            raise


def _sendable(destination: object, message: object, timeout: float | None) -> tuple[str, m.Body]:
    name, body = name_of(destination, "destination"), body_of(message)
    check_timeout(timeout)
    return name, body


def _check_sizes(name: str, body: m.Body) -> None:
    check_name(name)
    check_body(body, MESSAGE_BYTES_MAX)
