"""What applications see of EVS."""

from enum import IntFlag


class Callback(IntFlag):
    """The kinds of events a session wants."""

    ALL_EVENTS = 1
    ALL = 1
