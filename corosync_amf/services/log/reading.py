"""The file of a stream, read through the executive: so that an operator needs no right to the file itself."""

from typing import TYPE_CHECKING, Final

import anyio

from corosync_amf.errors import NotExist

from . import messages as m

if TYPE_CHECKING:
    from .client import LogService

LOOK_SECONDS: Final = 0.2
GAP: Final = "[lines were left out]"


class Reader:
    """The last lines of a stream's file, and what comes after them."""

    def __init__(self, service: "LogService", name: str, lines: int) -> None:
        self._service = service
        self._name = name
        self._lines = lines
        self._position = 0
        self._file = ("", "")

    async def first(self) -> list[str]:
        """The last lines. Raises: NotExist: no such stream, or no file of it on this node."""
        await self._find()
        return await self._read(None)

    async def first_of_all(self) -> list[str]:
        """The last lines before `more`: none when the node has written none yet. Raises: NotExist: no such stream."""
        await self._find()
        try:
            return await self._read(None)
        except NotExist:
            return []

    async def _find(self) -> None:
        (shown,) = await self._service.streams(self._name)
        self._file = (shown.attributes.log_file_path_name, shown.attributes.log_file_name)

    async def more(self) -> list[str] | None:
        """Lines that were added since; waits for one. None: the service was finalized."""
        while self._service.is_open:
            if added := await self._read(self._position):
                return added
            await anyio.sleep(LOOK_SECONDS)
        return None

    async def _read(self, after: int | None) -> list[str]:
        answer = await self._service.ask(m.ReadFile(*self._file, self._lines, after), m.FileText)
        self._position = answer.position
        lines = answer.text.decode(errors="replace").split("\n")[:-1]
        return [GAP, *lines] if answer.is_gap else lines
