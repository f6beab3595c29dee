"""EVS: group messaging with extended virtual synchrony, many groups per session.

Source: evs.h of corosync.
"""

from .client import EvsService, initialize
from .values import Callback

__all__ = ["Callback", "EvsService", "initialize"]
