"""What applications see of EVT."""

from enum import IntFlag


class Callback(IntFlag):
    """The kinds of events a session wants."""

    OPEN = 1
    DELIVER = 2
    ALL = 3
