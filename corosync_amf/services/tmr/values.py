"""What applications say about timers.

Source: SAI-AIS-TMR-A.01.01 section 3.3.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

TIMERS_MAX: Final = 65_536
"""Timers of one session."""
TIME_MAX: Final = float(2**53)
PERIOD_MIN: Final = 1e-9


class Callback(IntFlag):
    """The kinds of events that a session may ask for."""

    EXPIRED = 1
    ALL = EXPIRED


class TimeType(IntEnum):
    """SaTmrTimeT: what the time of the first expiry is.

    ABSOLUTE: seconds since the epoch, and follows when the clock of the machine is set. DURATION: seconds from now.
    """

    ABSOLUTE = 1
    DURATION = 2


@dataclass(frozen=True, slots=True)
class TimerAttributes:
    """SaTmrTimerAttributesT. Times are in seconds; a period of 0 means that the timer expires once."""

    type: TimeType
    initial_expiration_time: float
    timer_period_duration: float = 0.0
