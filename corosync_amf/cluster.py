"""Several services over one connection.

async with connect() as cluster:
    async with cluster.ckpt() as checkpoints, cluster.clm() as membership:
        ...
"""

from typing import TYPE_CHECKING, Any, TypeVar

from corosync_amf.ais import NodeId
from corosync_amf.service import Opening, ServiceClient
from corosync_amf.session import OPEN_SECONDS, Session

if TYPE_CHECKING:
    from corosync_amf.services.amf import AmfService
    from corosync_amf.services.ckpt import CkptService
    from corosync_amf.services.clm import ClmService
    from corosync_amf.services.cpg import CpgService
    from corosync_amf.services.evs import EvsService
    from corosync_amf.services.evt import EvtService
    from corosync_amf.services.lck import LckService
    from corosync_amf.services.log import LogService
    from corosync_amf.services.msg import MsgService
    from corosync_amf.services.ntf import NtfService
    from corosync_amf.services.tmr import TmrService

S = TypeVar("S", bound=ServiceClient)


class Cluster:
    """A connection to the executive of this node. Enter a service of it: `async with cluster.ckpt() as service`.

    The first object of a service shares the connection; a second one of the same service opens its own.
    """

    def __init__(self, session: Session, address: str | None) -> None:
        """For `connect`."""
        self.session = session
        self._address = address

    @property
    def node_id(self) -> NodeId:
        """The node whose executive this is."""
        return self.session.node_id

    @property
    def node_name(self) -> str:
        """The name of that node."""
        return self.session.node_name

    def amf(self, **arguments: Any) -> "Opening[AmfService]":
        """`amf.initialize` on this connection, with the same arguments."""
        from corosync_amf.services.amf import AmfService

        return self.service(AmfService, **arguments)

    def ckpt(self, **arguments: Any) -> "Opening[CkptService]":
        """`ckpt.initialize` on this connection, with the same arguments."""
        from corosync_amf.services.ckpt import CkptService

        return self.service(CkptService, **arguments)

    def clm(self, **arguments: Any) -> "Opening[ClmService]":
        """`clm.initialize` on this connection, with the same arguments."""
        from corosync_amf.services.clm import ClmService

        return self.service(ClmService, **arguments)

    def cpg(self, **arguments: Any) -> "Opening[CpgService]":
        """`cpg.initialize` on this connection, with the same arguments."""
        from corosync_amf.services.cpg import CpgService

        return self.service(CpgService, **arguments)

    def evs(self, **arguments: Any) -> "Opening[EvsService]":
        """`evs.initialize` on this connection, with the same arguments."""
        from corosync_amf.services.evs import EvsService

        return self.service(EvsService, **arguments)

    def evt(self, **arguments: Any) -> "Opening[EvtService]":
        """`evt.initialize` on this connection, with the same arguments."""
        from corosync_amf.services.evt import EvtService

        return self.service(EvtService, **arguments)

    def lck(self, **arguments: Any) -> "Opening[LckService]":
        """`lck.initialize` on this connection, with the same arguments."""
        from corosync_amf.services.lck import LckService

        return self.service(LckService, **arguments)

    def log(self, **arguments: Any) -> "Opening[LogService]":
        """`log.initialize` on this connection, with the same arguments."""
        from corosync_amf.services.log import LogService

        return self.service(LogService, **arguments)

    def msg(self, **arguments: Any) -> "Opening[MsgService]":
        """`msg.initialize` on this connection, with the same arguments."""
        from corosync_amf.services.msg import MsgService

        return self.service(MsgService, **arguments)

    def ntf(self, **arguments: Any) -> "Opening[NtfService]":
        """`ntf.initialize` on this connection, with the same arguments."""
        from corosync_amf.services.ntf import NtfService

        return self.service(NtfService, **arguments)

    def tmr(self, **arguments: Any) -> "Opening[TmrService]":
        """`tmr.initialize`, with the same arguments; timers need no connection."""
        from corosync_amf.services.tmr import initialize

        return initialize(**arguments)

    def service(self, kind: type[S], **arguments: Any) -> Opening[S]:
        """Initialise a service object of any class on this connection; arguments as its module's `initialize`. With
        another `address` than that of `connect` it gets a connection of its own.
        """
        address = arguments.pop("address", None)
        if address is not None and address != self._address:
            return kind.opening(address=address, **arguments)
        return kind.opening(session=self.session, address=self._address, **arguments)

    @property
    def is_open(self) -> bool:
        """Whether `close` has not been called."""
        return self.session.is_open

    async def close(self) -> None:
        """End the connection and with it every service object on it; a second call does nothing."""
        await self.session.close()


def connect(address: str | None = None, *, timeout: float | None = OPEN_SECONDS) -> Opening[Cluster]:
    """Connect to the executive of this node: `async with connect() as cluster`, or `await connect()` and later `close`.

    `address` is the executive's socket, the default that of the environment; `timeout` in seconds.

    Raises: Library (SA_AIS_ERR_LIBRARY): no executive there; TimedOut (SA_AIS_ERR_TIMEOUT): it does not answer.
    """

    async def open() -> Cluster:
        return Cluster(await Session.open(address, timeout=timeout), address)

    return Opening(open, Cluster.close)
