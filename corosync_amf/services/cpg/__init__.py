"""CPG: closed process groups: one group per session, messages and membership in one order.

Source: cpg.h of corosync.
"""

from .client import CpgService, initialize
from .values import Callback

__all__ = ["Callback", "CpgService", "initialize"]
