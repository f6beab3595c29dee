"""Version strings of the AIS services, `"B.03.01"`: release, major, minor.

Source: SAI-AIS-OVERVIEW, SaVersionT and version negotiation.
"""

import re
from collections.abc import Sequence
from typing import Final

from corosync_amf.errors import InvalidParam, Version

SUPPORTED: Final[dict[str, tuple[str, ...]]] = {
    "CLM": ("B.01.01", "B.03.01", "B.04.01"),
    "CKPT": ("B.01.01", "B.02.02"),
    "EVT": ("B.01.01", "B.02.01", "B.03.01"),
    "MSG": ("B.01.01", "B.02.01", "B.03.01"),
    "LCK": ("B.01.01", "B.02.01", "B.03.01"),
    "TMR": ("A.01.01",),
    "NTF": ("A.01.01", "A.02.01", "A.03.01"),
    "LOG": ("A.01.01", "A.02.01"),
    "AMF": ("B.01.01", "B.02.01", "B.03.01", "B.04.01"),
}
"""What each service speaks, the newest last: of each major version the highest minor."""

_FORM = re.compile(r"([A-Z])\.([0-9]{2})\.([0-9]{2})", re.ASCII)


def negotiate(asked: object, supported: Sequence[str]) -> str:
    """The version agreed on: as asked, its minor lowered to what is supported.

    Raises: InvalidParam: not a version string; Version: release or major not supported (`supported` lists those that
    are).
    """
    match = _FORM.fullmatch(asked) if isinstance(asked, str) else None
    if match is None:
        raise InvalidParam(f'version must be a string like "B.03.01", not {asked!r}')
    major, minor = f"{match[1]}.{match[2]}", match[3]
    for version in supported:
        if version[:4] == major:
            return f"{major}.{min(minor, version[5:])}"
    raise Version(f"version {asked} is not supported; supported: {', '.join(supported)}", supported=tuple(supported))


def check_version(agreed: str, least: str, supported: Sequence[str]) -> None:
    """Raises: Version: `agreed` is older than `least`, a release and major like "B.03"."""
    if agreed[:4] < least[:4]:
        raise Version(f"needs version {least}; {agreed} was agreed", supported=tuple(supported))
