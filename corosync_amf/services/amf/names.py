"""The names that people type for objects: short paths in the place of DNs.

    cluster    node/a, a    nodegroup/all    phone    phone/sg:servers    phone/su1    phone/su1/callserver
    phone/si:calls    phone/si:calls/sip

`sg:` and `si:` may be left out where only one object has the path, and the service group may stand before the unit.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from corosync_amf.ais import Dn
from corosync_amf.errors import NotExist

_RDN: Final = re.compile(r"(?:\\.|[^\\,])+", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_LISTED_MAX: Final = 5


def parent(dn: Dn) -> Dn:
    """The DN above: what follows the first comma that is not escaped."""
    if "\\" not in dn:
        return dn.partition(",")[2]
    first = _RDN.match(dn)
    return dn[first.end() + 1 :] if first else ""


def paths_of(dn: Dn) -> tuple[str, ...]:
    """The paths of an object, the preferred one first; another object may have the same one."""
    pairs = [_ESCAPED.sub(r"\1", part).partition("=") for part in reversed(_RDN.findall(dn))]
    kinds, names = [kind for kind, _, _ in pairs], [name for _, _, name in pairs]
    match kinds:
        case ["safAmfCluster"]:
            return ("cluster",)
        case ["safAmfCluster", "safAmfNode"]:
            return (f"node/{names[1]}", names[1])
        case ["safAmfCluster", "safAmfNodeGroup"]:
            return (f"nodegroup/{names[1]}",)
        case ["safApp", "safSg", _, *_]:
            return "/".join([names[0], *names[2:]]), "/".join(names)
        case ["safApp", "safSg" | "safSi", *_]:
            return "/".join(names), "/".join([names[0], f"{kinds[1][3:].lower()}:{names[1]}", *names[2:]])
        case _:
            return ("/".join(names),)


class Names:
    """The objects that there are, and what they are called."""

    def __init__(self, dns: Iterable[Dn]) -> None:
        self._paths: Final = {dn: paths_of(dn) for dn in dns}
        self._owners: Final[dict[str, list[Dn]]] = {}
        for dn, paths in self._paths.items():
            for path in paths:
                self._owners.setdefault(path, []).append(dn)

    def short(self, dn: Dn) -> str:
        """Return the shortest path that names the object and nothing else; its DN if there is none."""
        unique = (path for path in self._paths.get(dn, ()) if len(self._owners[path]) == 1)
        return next(unique, dn)

    def resolve(self, path: str, prefer: str = "") -> Dn:
        """Return the DN of what `path` names: a DN, a path, a prefix of one, part by part, or the end of one.

        Of several objects that it may name, that whose DN begins with `prefer` is meant.

        Raises: NotExist (SA_AIS_ERR_NOT_EXIST): nothing, or more than one thing, has that name; the reason names the
        nearest ones.
        """
        if path in self._paths:
            return path
        found = self._owners.get(path) or self._with_prefix(path) or self._with_end(path)
        if len(found) > 1 and prefer:
            found = [dn for dn in found if dn.startswith(prefer)] or found
        if len(found) == 1:
            return found[0]
        if found:
            raise NotExist(f"'{path}' could be {_listed([self.short(dn) for dn in found])}")
        near = get_close_matches(path, [*self._owners, *self._paths], n=3, cutoff=0.6)
        raise NotExist(f"there is no '{path}'" + (f"; did you mean {_listed(near)}?" if near else ""))

    def _with_prefix(self, path: str) -> list[Dn]:
        wanted = path.split("/")
        found: list[Dn] = []
        for candidate, owners in self._owners.items():
            parts = candidate.split("/")
            if len(parts) == len(wanted) and all(map(str.startswith, parts, wanted)):
                found += [dn for dn in owners if dn not in found]
        return found

    def _with_end(self, path: str) -> list[Dn]:
        return [dn for dn, paths in self._paths.items() if any(known.endswith(f"/{path}") for known in paths)]


def _listed(names: list[str]) -> str:
    shown = names[:_LISTED_MAX] + (["..."] if len(names) > _LISTED_MAX else [])
    return ", ".join(shown)
