"""What a component is doing for one component service instance: the assignment, and the tasks that serve it."""

from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.abc import TaskGroup

from corosync_amf.ais import Dn, HaState
from corosync_amf.services.amf.model import CheckpointPolicy

if TYPE_CHECKING:
    from corosync_amf.checkpointing import Keeper

current_csi: Final[ContextVar[Dn | None]] = ContextVar("current_csi", default=None)
"""The CSI whose hook or task is running: what `csi=None` means there."""


class Assignment(str):
    """A CSI that this component holds: the CSI's DN, which also knows how it is held.

    It is a `str` and can stand wherever a DN is wanted. `attributes` are the CSI's, each with all its values;
    `epoch` is the fencing token of this assignment (0 unless ACTIVE or QUIESCING); `standby_rank` counts from 1 for a
    STANDBY; `active_component` is the present active one's DN, for a STANDBY, or the former one's, for an ACTIVE. The
    host keeps these up to date for as long as the CSI is assigned.
    """

    __slots__ = ("active_component", "attributes", "epoch", "ha_state", "standby_rank")

    attributes: Mapping[str, tuple[str, ...]]
    ha_state: HaState
    epoch: int
    standby_rank: int
    active_component: Dn | None

    def __new__(
        cls, csi: Dn, ha_state: HaState, attributes: Mapping[str, tuple[str, ...]] | None = None, epoch: int = 0
    ) -> "Assignment":
        made = super().__new__(cls, csi)
        made.ha_state, made.attributes, made.epoch = ha_state, attributes or {}, epoch
        made.standby_rank, made.active_component = 0, None
        return made

    @property
    def csi(self) -> Dn:
        """The DN as a plain string."""
        return str(self)

    @property
    def is_active(self) -> bool:
        """Whether the component does this work now: ACTIVE, or QUIESCING."""
        return self.ha_state in (HaState.ACTIVE, HaState.QUIESCING)

    def __repr__(self) -> str:
        return f"Assignment({str(self)!r}, {self.ha_state.name}, epoch={self.epoch})"


class Tasks:
    """Coroutines that run beside the hooks until they are cancelled together.

    `failed` is called with what one of them raised.
    """

    def __init__(self, group: TaskGroup, failed: Callable[[Exception], None]) -> None:
        self._group = group
        self._failed = failed
        self._running: dict[anyio.CancelScope, anyio.Event] = {}
        self._mine: ContextVar[anyio.CancelScope | None] = ContextVar("mine", default=None)

    def start(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine from now on."""
        scope = anyio.CancelScope()
        self._running[scope] = anyio.Event()
        self._group.start_soon(self._run, coroutine, scope)

    async def _run(self, coroutine: Coroutine[Any, Any, object], scope: anyio.CancelScope) -> None:
        self._mine.set(scope)
        try:
            with scope:
                await coroutine
        except Exception as error:
            self._failed(error)
        finally:
            coroutine.close()  # it may never have begun
            self._running.pop(scope).set()

    async def cancel_others(self) -> None:
        """Cancel all but the calling one, if it is among them, and wait until they have ended."""
        mine = self._mine.get()
        others = [(scope, ended) for scope, ended in self._running.items() if scope is not mine]
        for scope, _ in others:
            scope.cancel()
        with anyio.CancelScope(shield=True):
            for _, ended in others:
                await ended.wait()

    async def cancel(self) -> None:
        """`cancel_others`, then the calling one itself, if it is among them."""
        await self.cancel_others()
        mine = self._mine.get()
        if mine is not None and mine in self._running:
            mine.cancel()


class Work:
    """One assignment with everything that belongs to it. `keeper`: its checkpoint, None when it keeps none."""

    def __init__(self, assignment: Assignment, tasks: Tasks) -> None:
        self.assignment: Final = assignment
        self.tasks: Final = tasks
        self.keeper: Keeper | None = None
        self.policy = CheckpointPolicy()
        self.lock: Final = anyio.Lock()
        self.is_serving = False
        """From ACTIVE until QUIESCED is answered: what this process does for the CSI counts."""
        self.is_restored = False
        """The application has the state that the checkpoint holds."""
        self.quiescing: int | None = None
        self.checkpoint_failures = 0
        self.rounds_skipped = 0
