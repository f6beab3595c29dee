"""EVT: events: a cluster-wide bus with channels, patterns, priorities and retention.

Source: SAI-AIS-EVT-B.03.01.
"""

from .client import EvtService, initialize
from .values import Callback

__all__ = ["Callback", "EvtService", "initialize"]
