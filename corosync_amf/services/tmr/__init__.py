"""TMR: timers of one process; no executive takes part.

Source: SAI-AIS-TMR-A.01.01.
"""

from .client import TmrService, initialize
from .timer import Timer, TimerExpired
from .values import Callback, TimerAttributes, TimeType

__all__ = ["Callback", "TimeType", "Timer", "TimerAttributes", "TimerExpired", "TmrService", "initialize"]
