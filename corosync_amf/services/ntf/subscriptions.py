"""Who wants which notifications. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from corosync_amf.engine import Client, Effect, Event
from corosync_amf.errors import Exist, NoResources, NotExist

from .messages import Notified, SubscriptionRecord
from .records import Record, Selection, Terms

SUBSCRIPTIONS_MAX: Final = 256
"""Of one client."""
SUBSCRIBERS_MAX: Final = 16_384
"""Subscriptions in all."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a client asked for."""

    filters: tuple[Terms, ...]
    selection: Selection


class Subscriptions:
    """See the module. Iteration is in the order of clients and subscription ids."""

    def __init__(self, records: Iterable[SubscriptionRecord] = ()) -> None:
        self._all = {
            (each.client, each.subscription_id): Subscription(each.filters, Selection(each.filters)) for each in records
        }
        self._count: dict[Client, int] = {}
        self._settle()

    def _settle(self) -> None:
        """Keep the order, so that no notification has to sort."""
        self._all = {key: self._all[key] for key in sorted(self._all)}
        self._count = {}
        for client, _ in self._all:
            self._count[client] = self._count.get(client, 0) + 1

    def add(self, client: Client, subscription_id: int, filters: tuple[Terms, ...]) -> None:
        """Raises: Exist: the id is in use; NoResources: too many."""
        if (client, subscription_id) in self._all:
            raise Exist(f"subscription {subscription_id} is there already")
        if self._count.get(client, 0) >= SUBSCRIPTIONS_MAX or len(self._all) >= SUBSCRIBERS_MAX:
            raise NoResources(f"a client has at most {SUBSCRIPTIONS_MAX} subscriptions, all have {SUBSCRIBERS_MAX}")
        self._all[client, subscription_id] = Subscription(filters, Selection(filters))
        self._settle()

    def put(self, record: SubscriptionRecord) -> None:
        """Take over what was admitted in another partition."""
        self._all[record.client, record.subscription_id] = Subscription(record.filters, Selection(record.filters))
        self._settle()

    def remove(self, client: Client, subscription_id: int) -> None:
        """Raises: NotExist: no such subscription."""
        if self._all.pop((client, subscription_id), None) is None:
            raise NotExist(f"no subscription {subscription_id}")
        self._settle()

    def drop(self, has_gone: Callable[[Client], bool]) -> None:
        """Forget the subscriptions of clients that are gone."""
        if any(has_gone(client) for client in self._count):
            self._all = {key: each for key, each in self._all.items() if not has_gone(key[0])}
            self._settle()

    def events(self, record: Record, data: bytes) -> list[Effect]:
        """One event for each subscription that wants the notification."""
        identifier, event_type = record.identifier, record.event_type
        return [
            Event(client, Notified(number, identifier, event_type, data))
            for (client, number), subscription in self._all.items()
            if subscription.selection.has(record)
        ]

    def records(self, of: Callable[[Client], bool] = lambda client: True) -> list[SubscriptionRecord]:
        """Those of the clients chosen."""
        return [SubscriptionRecord(*key, each.filters) for key, each in self._all.items() if of(key[0])]
