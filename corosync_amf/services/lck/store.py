"""Which resources there are, who has them open, and who holds, wants or left behind which lock."""

from collections.abc import Iterable, Sequence

from corosync_amf.engine import Client
from corosync_amf.errors import BadHandle, InvalidParam, NoResources, NotExist

from .messages import HandleRecord, LockRecord, Open, ResourceRecord
from .values import (
    HANDLES_MAX,
    LISTED_MAX,
    RESOURCES_MAX,
    LockDescription,
    LockFlags,
    LockMode,
    ResourceDescription,
    ResourceOpenFlags,
    ResourceStatus,
)

PR, EX = int(LockMode.PR), int(LockMode.EX)
ORPHAN, CREATE = int(LockFlags.ORPHAN), int(ResourceOpenFlags.CREATE)


class Claim:
    """One lock or one request for it. `token` is None while it waits."""

    __slots__ = ("client", "flags", "handle", "lock", "mode", "resource", "token", "waiter_signal")

    def __init__(self, handle: "Handle", lock: int, mode: int, flags: int, waiter_signal: int) -> None:
        self.client = handle.client
        self.handle = handle
        self.resource = handle.resource
        self.lock = lock
        self.mode = mode
        self.flags = flags
        self.waiter_signal = waiter_signal
        self.token: int | None = None

    def excludes(self, mode: int) -> bool:
        """Whether nobody can hold a lock of `mode` beside this one."""
        return self.mode == EX or mode == EX

    def record(self) -> LockRecord:
        """The claim in a snapshot."""
        return LockRecord(
            self.client, self.handle.number, self.lock, self.mode, self.flags, self.waiter_signal, self.token
        )

    def description(self) -> LockDescription:
        """The claim for an operator."""
        mode, flags = LockMode(self.mode), LockFlags(self.flags)
        return LockDescription(self.client.node, self.client.number, self.lock, mode, flags, self.token)


class Handle:
    """A resource as one client has it open. `exclusive` is its EX lock or request, of which it has one at most."""

    __slots__ = ("claims", "client", "exclusive", "number", "resource", "wants_waiters")

    def __init__(self, client: Client, number: int, resource: "Resource", wants_waiters: bool) -> None:
        self.client = client
        self.number = number
        self.resource = resource
        self.wants_waiters = wants_waiters
        self.claims: dict[int, Claim] = {}
        self.exclusive: Claim | None = None

    def record(self) -> HandleRecord:
        """The handle in a snapshot."""
        return HandleRecord(self.client, self.number, self.resource.name, self.wants_waiters)


class Resource:
    """What can be locked. `held` is in the order of the grants, `waiting` in that of the requests."""

    __slots__ = ("handles", "held", "name", "orphaned", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.handles = 0
        self.held: dict[Claim, None] = {}
        self.waiting: dict[Claim, None] = {}
        self.orphaned: list[Claim] = []

    def admits(self, mode: int) -> bool:
        """Whether a lock of `mode` can be held beside those that are."""
        for locks in (self.held, self.orphaned):
            for claim in locks:
                return mode == PR and claim.mode == PR  # all that are held together have one mode
        return True

    def grant(self, claim: Claim, token: int) -> None:
        """The claim is a lock from now on."""
        claim.token = token
        self.held[claim] = None

    def grant_waiting(self, token: int) -> list[Claim]:
        """Grant what can be granted, the oldest request first; none overtakes another."""
        granted: list[Claim] = []
        while self.waiting:
            claim = next(iter(self.waiting))
            if not self.admits(claim.mode):
                break
            del self.waiting[claim]
            self.grant(claim, token)
            granted.append(claim)
        return granted

    def status(self) -> ResourceStatus:
        """The resource in short."""
        return ResourceStatus(self.name, self.handles, len(self.held), len(self.waiting), len(self.orphaned))

    def describe(self) -> ResourceDescription:
        """The resource for an operator."""
        held, waiting, orphaned = (
            tuple(claim.description() for claim in list(claims)[:LISTED_MAX])
            for claims in (self.held, self.waiting, self.orphaned)
        )
        return ResourceDescription(self.status(), held, waiting, orphaned)


class Owner:
    """What one client has: its handles, and its claims by their numbers."""

    __slots__ = ("claims", "handles")

    def __init__(self) -> None:
        self.handles: dict[int, Handle] = {}
        self.claims: dict[int, Claim] = {}

    def resources(self) -> Iterable[Resource]:
        """Each resource once, in an order that is the same on all replicas."""
        return dict.fromkeys(self.handles[number].resource for number in sorted(self.handles))


class Store:
    """See the module. `claims` counts the locks, requests and orphans of all resources."""

    def __init__(self) -> None:
        self.resources: dict[str, Resource] = {}
        self.owners: dict[Client, Owner] = {}
        self.claims = 0

    # ---- the state as a whole

    def records(self) -> tuple[list[ResourceRecord], list[HandleRecord]]:
        """All of it, for a snapshot."""
        resources = [
            ResourceRecord(
                resource.name,
                [claim.record() for claim in resource.held],
                [claim.record() for claim in resource.waiting],
                [claim.record() for claim in resource.orphaned],
            )
            for _, resource in sorted(self.resources.items())
        ]
        return resources, self.handles_of(self.owners)

    def handles_of(self, clients: Iterable[Client]) -> list[HandleRecord]:
        """The handles of these clients."""
        return sorted(handle.record() for client in clients for handle in self.owners[client].handles.values())

    @classmethod
    def restored(cls, resources: Sequence[ResourceRecord], handles: Sequence[HandleRecord]) -> "Store":
        """That of a snapshot."""
        store = cls()
        store.resources = {record.name: Resource(record.name) for record in resources}
        for record in handles:
            store._add(Handle(record.client, record.number, store.resources[record.resource], record.wants_waiters))
        for each in resources:
            resource = store.resources[each.name]
            for lock in each.held:
                resource.held[store._restored(lock)] = None
            for lock in each.waiting:
                resource.waiting[store._restored(lock)] = None
            for lock in each.orphaned:
                resource.orphaned.append(_claim_of(lock, Handle(lock.client, lock.handle, resource, False)))
                store.claims += 1
        return store

    def _restored(self, record: LockRecord) -> Claim:
        claim = _claim_of(record, self.owners[record.client].handles[record.handle])
        self.add(claim)
        return claim

    # ---- handles

    def handle(self, client: Client, number: int) -> Handle:
        """What the client's number stands for. Raises: BadHandle."""
        try:
            return self.owners[client].handles[number]
        except KeyError:
            raise BadHandle("the resource is not open") from None

    def open(self, client: Client, message: Open) -> None:
        """Open a resource, and create it if need be. Raises: InvalidParam, NotExist, NoResources."""
        owner = self.owners.get(client)
        resource = self.resources.get(message.name)
        if resource is None and not message.open_flags & CREATE:
            raise NotExist(f"no resource {message.name!r}")
        if owner is not None and message.handle in owner.handles:
            raise InvalidParam(f"handle {message.handle} is open already")
        if owner is not None and len(owner.handles) >= HANDLES_MAX:
            raise NoResources(f"a client has at most {HANDLES_MAX} resources open")
        if resource is None:
            if len(self.resources) >= RESOURCES_MAX:
                raise NoResources(f"there are {RESOURCES_MAX} resources already")
            resource = self.resources[message.name] = Resource(message.name)
        self._add(Handle(client, message.handle, resource, message.wants_waiters))

    def _add(self, handle: Handle) -> None:
        self.owners.setdefault(handle.client, Owner()).handles[handle.number] = handle
        handle.resource.handles += 1

    def close(self, client: Client, numbers: Iterable[int]) -> list[Resource]:
        """Close handles, in the given order: their requests are withdrawn, their locks released or left behind as
        orphans. Returned are the resources where that made a difference to others."""
        owner = self.owners.get(client)
        freed: dict[Resource, None] = {}
        for number in numbers:
            handle = owner.handles.pop(number, None) if owner is not None else None
            if handle is None:
                continue
            resource = handle.resource
            for _, claim in sorted(handle.claims.items()):
                self.remove(claim)
                if claim.token is not None and claim.flags & ORPHAN:
                    resource.orphaned.append(claim)
                    self.claims += 1
                freed[resource] = None
            resource.handles -= 1
            self.tidy(resource)
        if owner is not None and not owner.handles:
            del self.owners[client]
        return list(freed)

    def tidy(self, resource: Resource) -> None:
        """A resource that nobody has open and that nothing was left behind in vanishes."""
        if not resource.handles and not resource.orphaned:
            del self.resources[resource.name]

    # ---- claims

    def claim(self, client: Client, lock: int) -> Claim | None:
        """The client's lock or request of that number."""
        owner = self.owners.get(client)
        return None if owner is None else owner.claims.get(lock)

    def add(self, claim: Claim) -> None:
        """Note the claim under its owner and handle; the caller puts it where it belongs in its resource."""
        self.claims += 1
        self.owners[claim.client].claims[claim.lock] = claim
        claim.handle.claims[claim.lock] = claim
        if claim.mode == EX:
            claim.handle.exclusive = claim

    def remove(self, claim: Claim) -> None:
        """Forget a lock or a request of a client."""
        self.claims -= 1
        del self.owners[claim.client].claims[claim.lock]
        del claim.handle.claims[claim.lock]
        if claim.handle.exclusive is claim:
            claim.handle.exclusive = None
        if claim.token is None:
            del claim.resource.waiting[claim]
        else:
            del claim.resource.held[claim]

    def purge(self, resource: Resource) -> None:
        """Do away with the orphans. Somebody has the resource open."""
        self.claims -= len(resource.orphaned)
        resource.orphaned.clear()


def _claim_of(record: LockRecord, handle: Handle) -> Claim:
    claim = Claim(handle, record.lock, record.mode, record.flags, record.waiter_signal)
    claim.token = record.token
    return claim
