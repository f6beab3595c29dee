"""MSG: message queues and queue groups that survive the nodes they are used from.

Source: SAI-AIS-MSG-B.03.01.
"""

from .client import MsgService, initialize
from .values import Callback

__all__ = ["Callback", "MsgService", "initialize"]
