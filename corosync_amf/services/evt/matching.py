"""Whether a subscription wants an event: filter *i* against pattern *i*.

Source: SAI-AIS-EVT-B.03.01 section 3.1.3.
"""

from collections.abc import Sequence

from .messages import FilterPair
from .values import FilterType

PREFIX, SUFFIX, EXACT = int(FilterType.PREFIX), int(FilterType.SUFFIX), int(FilterType.EXACT)


def matches(filters: Sequence[FilterPair], patterns: Sequence[bytes]) -> bool:
    """Patterns beyond the last filter do not count; a missing pattern counts as empty bytes."""
    count = len(patterns)
    for place, (kind, wanted) in enumerate(filters):
        pattern = patterns[place] if place < count else b""
        if kind == EXACT:
            fits = pattern == wanted
        elif kind == PREFIX:
            fits = pattern.startswith(wanted)
        else:
            fits = kind != SUFFIX or pattern.endswith(wanted)
        if not fits:
            return False
    return True
