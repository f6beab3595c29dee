"""Names of objects as people type them: a DN, a short path (`phone/su1/callserver`), or a unique part of one."""

from difflib import get_close_matches

from corosync_amf.ais import Dn
from corosync_amf.errors import NotExist
from corosync_amf.services.amf.messages import Status


def short(dn: Dn) -> str:
    """The short path of a DN: the names from the application down, without the kinds, groups left out."""
    parts = [part.partition("=") for part in dn.replace("\\,", "\0").split(",")]
    names = [(kind, value.replace("\0", ",")) for kind, _, value in reversed(parts)]
    if names[-1][0] == "safAmfCluster":
        return "cluster"
    if names[-1][0] == "safAmfNode":
        return f"node/{names[-1][1]}"
    below = len(names) > 2 and names[-1][0] != "safSg"
    return "/".join(value for kind, value in names if not (below and kind == "safSg"))


def known(status: Status) -> list[Dn]:
    """The DNs of all objects in a status."""
    kinds = (status.nodes, status.applications, status.groups, status.units, status.components)
    rest = (status.instances, status.csis)
    return [status.cluster.dn, *(item.dn for kind in kinds for item in kind), *(item.dn for k in rest for item in k)]


def resolve(status: Status, name: str) -> Dn:
    """The DN that a person means.

    Raises: NotExist (SA_AIS_ERR_NOT_EXIST): none, or more than one, is meant; the message names near ones.
    """
    dns = known(status)
    if name in dns:
        return name
    paths = {short(dn): dn for dn in dns}
    if name in paths:
        return paths[name]
    found = sorted(path for path in paths if path.startswith(name)) or sorted(
        path for path in paths if path.endswith(f"/{name}")
    )
    top = [path for path in found if all(not path.startswith(f"{other}/") for other in found if other != path)]
    if len(top) == 1:
        return paths[top[0]]
    near = top[:5] or get_close_matches(name, sorted(paths), 3, 0.4)
    raise NotExist(f"{'more than one' if top else 'no'} object {name!r}; there is {', '.join(near) or 'nothing'}")
