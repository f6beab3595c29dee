"""What applications see of MSG."""

from enum import IntFlag


class Callback(IntFlag):
    """The kinds of events a session wants."""

    OPEN = 1
    GROUP_TRACK = 2
    DELIVERED = 4
    RECEIVED = 8
    ALL = 15
