"""What applications see of LCK."""

from enum import IntFlag


class Callback(IntFlag):
    """The kinds of events a session wants."""

    OPEN = 1
    GRANT = 2
    WAITER = 4
    UNLOCK = 8
    ALL = 15
