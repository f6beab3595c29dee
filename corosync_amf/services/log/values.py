"""What applications see of LOG."""

from enum import IntFlag


class Callback(IntFlag):
    """The kinds of events a session wants."""

    OPEN = 1
    WRITE = 2
    FILTER = 4
    ALL = 7
