"""The presence states of a component: one table.

Source: SAI-AIS-AMF-B.04.01 section 3.2.2.1.
"""

from enum import Enum
from typing import Final

from corosync_amf.ais import Presence

from .model import Category


class Happening(Enum):
    """What can happen to a component's presence. FAILED: no attempt to instantiate it is left."""

    INSTANTIATE = "instantiate"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TERMINATE = "terminate"
    RESTART = "restart"
    GONE = "gone"
    CLEANUP_FAILED = "cleanup failed"
    REPAIRED = "repaired"


_REGISTER: Final = int(Category.SA_AWARE | Category.PROXY | Category.CONTAINER | Category.CONTAINED)
_DO_NOT_REGISTER: Final = int(Category.PROXIED | Category.PROXIED_NPI | Category.LOCAL)


def registers(category: Category) -> bool:
    """Whether a process of the component itself registers."""
    bits = int(category)
    return bits & _REGISTER != 0 and bits & _DO_NOT_REGISTER == 0


_P, _H = Presence, Happening
TABLE: Final = {
    (_P.UNINSTANTIATED, _H.INSTANTIATE): _P.INSTANTIATING,
    (_P.UNINSTANTIATED, _H.CLEANUP_FAILED): _P.TERMINATION_FAILED,
    (_P.INSTANTIATING, _H.INSTANTIATE): _P.INSTANTIATING,
    (_P.INSTANTIATING, _H.SUCCEEDED): _P.INSTANTIATED,
    (_P.INSTANTIATING, _H.FAILED): _P.INSTANTIATION_FAILED,
    (_P.INSTANTIATING, _H.TERMINATE): _P.TERMINATING,
    (_P.INSTANTIATING, _H.RESTART): _P.INSTANTIATING,
    (_P.INSTANTIATING, _H.CLEANUP_FAILED): _P.TERMINATION_FAILED,
    (_P.INSTANTIATED, _H.TERMINATE): _P.TERMINATING,
    (_P.INSTANTIATED, _H.RESTART): _P.RESTARTING,
    (_P.RESTARTING, _H.INSTANTIATE): _P.RESTARTING,
    (_P.RESTARTING, _H.SUCCEEDED): _P.INSTANTIATED,
    (_P.RESTARTING, _H.FAILED): _P.INSTANTIATION_FAILED,
    (_P.RESTARTING, _H.TERMINATE): _P.TERMINATING,
    (_P.RESTARTING, _H.RESTART): _P.RESTARTING,
    (_P.RESTARTING, _H.CLEANUP_FAILED): _P.TERMINATION_FAILED,
    (_P.TERMINATING, _H.TERMINATE): _P.TERMINATING,
    (_P.TERMINATING, _H.GONE): _P.UNINSTANTIATED,
    (_P.TERMINATING, _H.CLEANUP_FAILED): _P.TERMINATION_FAILED,
    (_P.INSTANTIATION_FAILED, _H.REPAIRED): _P.UNINSTANTIATED,
    (_P.TERMINATION_FAILED, _H.REPAIRED): _P.TERMINATING,
}
"""(presence, happening) -> presence. A component whose process is certainly gone, by whatever way (its node left), is
UNINSTANTIATED; that needs no row."""


def after(presence: Presence, happening: Happening) -> Presence:
    """The presence after a happening; unchanged where the table has no row."""
    return TABLE.get((presence, happening), presence)
