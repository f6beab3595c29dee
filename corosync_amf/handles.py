"""What a session has open: checkpoints, channels, queues, resources, streams."""

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from .engine import Request
from .errors import AisError, BadHandle
from .service import Pending, ServiceClient

R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)


class Handle(Protocol[R_contra]):
    """One thing that is open, or is being opened; `number` is the session's own."""

    number: int
    is_open: bool

    def begin(self, opened: R_contra, /) -> None:
        """The executive has opened it, and says `opened`."""

    def shut(self) -> Any:
        """It is closed from now on, or will never be open: its session forgets it."""


H = TypeVar("H", bound=Handle[Any])


class Handles(Generic[H, R]):
    """`known` holds the handles by their numbers, from before they are open: the first event may come with the answer.

    `reply` is what the executive answers; `close` makes the request that closes handles, also those that were opened in
    vain, because the caller waits no more or the session is over.
    """

    def __init__(self, service: ServiceClient, reply: type[R], close: Callable[[tuple[int, ...]], Request]) -> None:
        self.known: dict[int, H] = {}
        self._service = service
        self._reply = reply
        self._close = close

    async def open(self, handle: H, request: Request, timeout: float | None) -> H:
        """Open it. Raises: what the request raises; BadHandle: it was lost, or the session ended, meanwhile."""
        self.known[handle.number] = handle
        try:
            undo = self._close((handle.number,))
            opened = await self._service.request(request, self._reply, timeout=timeout, undo=undo)
        except BaseException:
            handle.shut()
            raise
        return self._opened(handle, opened)

    def open_async(
        self,
        handle: H,
        request: Request,
        event: Callable[[int, H | None, AisError | None], object],
        invocation: int,
    ) -> Pending[H]:
        """Open it without waiting; `event` makes the event of the outcome. Raises: TryAgain: too much is under way."""
        self.known[handle.number] = handle

        def told(number: int, opened: H | None, error: AisError | None) -> object:
            if error is not None:
                handle.shut()
            return event(number, opened, error)

        try:
            return self._service.submit(
                request, self._reply, lambda opened: self._opened(handle, opened), told, invocation=invocation
            )
        except AisError:
            handle.shut()
            raise

    def _opened(self, handle: H, opened: R) -> H:
        if self._service.is_ending or handle.number not in self.known:
            self._service.release(self._close((handle.number,)))
            raise BadHandle("the session was finalized, or the handle lost, meanwhile")
        handle.begin(opened)
        return handle

    def forget(self, handle: H) -> None:
        """It is shut."""
        self.known.pop(handle.number, None)

    async def close_all(self) -> None:
        """Shut them all, and give those back that are open."""
        numbers = sorted(number for number, handle in self.known.items() if handle.is_open)
        for handle in list(self.known.values()):
            handle.shut()
        if numbers:
            await self._service.give_back(self._close(tuple(numbers)))
