"""The objects of a status, by the names that people have for them."""

from typing import Final

from corosync_amf.ais import Dn
from corosync_amf.services.amf.messages import Status
from corosync_amf.services.amf.names import Names, paths_of

INSTANCE: Final = "safSi="
"""Prefer a service instance to a service group of the same name."""
GROUP: Final = "safSg="
"""The other way round."""


def known(status: Status) -> list[Dn]:
    """The DNs of all objects in a status."""
    kinds = (status.nodes, status.applications, status.groups, status.units, status.components)
    rest = (status.instances, status.csis)
    return [status.cluster.dn, *(item.dn for kind in kinds for item in kind), *(item.dn for k in rest for item in k)]


def short(dn: Dn) -> str:
    """The usual path of an object."""
    return paths_of(dn)[0]


def resolve(status: Status, name: str, prefer: str = "") -> Dn:
    """The DN that a person means; see `Names.resolve`.

    Raises: NotExist (SA_AIS_ERR_NOT_EXIST): none, or more than one, is meant; the message names near ones.
    """
    return Names(known(status)).resolve(name, prefer)
