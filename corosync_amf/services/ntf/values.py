"""What applications see of NTF."""

from enum import IntFlag


class Callback(IntFlag):
    """The kinds of events a session wants."""

    NOTIFICATION = 1
    DISCARDED = 2
    ALL = 3
