"""The process in which a component's plugins run: `python -m corosync_amf.component PLUGIN`.

When the executive is gone the whole process group ends at once: another node may be about to act in its place.
"""

import argparse
import contextlib
import logging
import os
import sys
from typing import Final

import anyio

from corosync_amf import lease as leases
from corosync_amf import plugins as plugin
from corosync_amf.ais import ErrorCode
from corosync_amf.component_host import Host
from corosync_amf.ending import end_with_executive
from corosync_amf.errors import AisError, Library
from corosync_amf.plugins import Plugins
from corosync_amf.services import amf
from corosync_amf.services.amf.client import COMPONENT_NAME_VARIABLE

EXIT_NOT_STARTED: Final = 1
EXIT_USAGE: Final = 2


async def host(plugins: Plugins) -> None:
    """Be the component that this process was started for, until it is terminated.

    Raises: Library: the executive is gone; and as `Host.start`.
    """
    path = os.environ.get(leases.VARIABLE)
    lease = leases.Lease(path) if path else None
    service = await amf.initialize()
    async with anyio.create_task_group() as group:
        component = Host(service, plugins, group, lease)
        await component.start()
        await component.serve()
        group.cancel_scope.cancel()


def main(argv: list[str] | None = None) -> None:
    """`python -m corosync_amf.component PLUGIN [PLUGIN ...]`: what the executive runs for a component with `plugin:`.

    Ends with 0 after AMF terminated the component, 1 when it could not be started, 2 when a plugin is wrong, and by
    killing its process group when the executive is gone.
    """
    parser = argparse.ArgumentParser(prog="python -m corosync_amf.component", description=__doc__)
    parser.add_argument("plugins", nargs="+", help="module:object, or an entry point of corosync_amf.components")
    names = parser.parse_args(argv).plugins
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    sys.path.insert(0, os.getcwd())
    try:
        plugins = Plugins([plugin.load(name) for name in names])
    except AisError as error:
        logging.critical("%s", error)
        _leave(EXIT_USAGE)
    if not os.environ.get(COMPONENT_NAME_VARIABLE):
        logging.critical("%s is not set: components are started by the executive", COMPONENT_NAME_VARIABLE)
        _leave(EXIT_USAGE)
    try:
        anyio.run(host, plugins)
    except BaseException as error:
        _leave(_exit_code(error))
    _leave(0)


def _exit_code(error: BaseException) -> int:
    """Say why the component ends; kill everything it started when the executive is gone."""
    first = _first_cause(error)
    if isinstance(first, Library):
        end_with_executive(str(first))
    if isinstance(first, AisError) and first.code is not ErrorCode.FAILED_OPERATION:
        logging.critical("the component cannot be started: %s", first)
    else:
        logging.critical("the component cannot be started", exc_info=first)
    return EXIT_NOT_STARTED


def _first_cause(error: BaseException) -> BaseException:
    """The error that ended a task group; that the executive is gone counts before anything else."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    causes = [_first_cause(inner) for inner in error.exceptions]
    return next((cause for cause in causes if isinstance(cause, Library)), causes[0])


def _leave(code: int) -> None:
    """End now: threads that the application left behind must not keep the process."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
