"""LCK: locks that the whole cluster sees, with a fencing token for each grant.

Source: SAI-AIS-LCK-B.03.01.
"""

from .client import LckService, initialize
from .values import Callback

__all__ = ["Callback", "LckService", "initialize"]
