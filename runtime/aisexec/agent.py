"""AMF on this node: what is carried out and watched here, outside the order.

Commands of the engine go to `processes`; healthchecks and process monitoring to `supervision` (pure); what either finds
becomes requests for the order.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from corosync_amf.ais import Dn
from corosync_amf.engine import Done, Message, NodeFacts, NodeLocal, Request
from corosync_amf.services.amf.messages import AmfCommand, Monitor, Notify
from corosync_amf.services.amf.model import Cluster, Index
from corosync_amf.wire import Ask, Hello, Requests

from .drive import Driver
from .ipc import Lost
from .processes import Processes
from .spawning import Surroundings

Answer = Callable[[int, int, Message], None]


class Agent:
    """`report` puts requests into the order; `answer` sends a client the reply to a question of this node."""

    def __init__(
        self,
        cluster: Cluster,
        facts: NodeFacts,
        surroundings: Surroundings,
        driver: Driver,
        report: Callable[[list[Request]], None],
        answer: Answer,
    ) -> None:
        self._answer = answer
        self._pids: dict[int, int] = {}
        components = Index(cluster).components
        self._processes = Processes(driver, surroundings, components, report)

    def run(self, command: AmfCommand) -> None:
        """Carry out a command of the engine."""
        if isinstance(command, (Monitor, Notify)):
            return
        self._processes.run(command)

    def client_said(self, client: int, frame: Hello | Requests | Ask | Lost, pid: int) -> None:
        """Take note of which process is behind a connection, and of its end."""
        if isinstance(frame, Hello):
            self._pids[client] = pid
            if frame.component is not None:
                self._processes.greeted(frame.component, pid)
        elif isinstance(frame, Lost):
            self._processes.connection_lost(self._pids.pop(client, 0))

    def ask(self, client: int, request: int, message: NodeLocal) -> None:
        """Answer a question that is this node's own."""
        self._answer(client, request, Done())

    def freeze(self, components: Collection[Dn]) -> None:
        """Stop components where they are: the lease is over."""
        self._processes.freeze(components)

    def thaw(self) -> None:
        """Let them go on."""
        self._processes.thaw()

    async def stop(self) -> None:
        """End all components of this node."""
        await self._processes.stop()

    def close(self) -> None:
        """Let go of everything, without waiting."""
        self._processes.close()


def surroundings_of(
    facts: NodeFacts, socket_path: Path, directory: Path, lease_path: str, environ: Mapping[str, str]
) -> Surroundings:
    """What the components of a node find around them."""
    return Surroundings(
        facts.node_id, facts.name, str(socket_path), directory, lease_path=lease_path, environ=dict(environ)
    )
