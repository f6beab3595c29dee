"""LOG: log streams of the whole cluster, written to files on every node.

Source: SAI-AIS-LOG-A.02.01.
"""

from .client import LogService, initialize
from .values import Callback

__all__ = ["Callback", "LogService", "initialize"]
