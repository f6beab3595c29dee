"""The end of a component that has lost its executive: another node may be about to act in its place."""

import logging
import os
import signal
from typing import NoReturn


def end_with_executive(reason: str) -> NoReturn:
    """End this process, and its process group if it leads one, without another instruction of the application."""
    logging.getLogger(__name__).critical("the executive is gone (%s): the component ends at once", reason)
    logging.shutdown()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    os._exit(1)
