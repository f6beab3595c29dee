"""How drivers wake the task that works for them, and learn that it has done all they wanted."""

import anyio


class Doorbell:
    """One task calls `wait` and, when nothing is left to do, `quiet`; all others `ring` and `drained`."""

    def __init__(self) -> None:
        self._rung = anyio.Event()
        self._quiet = anyio.Event()
        self._quiet.set()

    def ring(self) -> None:
        """There is something to do."""
        if self._quiet.is_set():
            self._quiet = anyio.Event()
        self._rung.set()

    async def wait(self) -> None:
        """Wait until somebody has rung since the last time."""
        await self._rung.wait()
        self._rung = anyio.Event()

    def quiet(self) -> None:
        """All is done."""
        self._quiet.set()

    async def drained(self) -> None:
        """Wait until nothing is left to do."""
        await self._quiet.wait()
