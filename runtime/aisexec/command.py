"""The command line of the executive: read the configuration, check it, run."""

import ctypes
import gc
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import anyio
import click

from corosync_amf._version import __version__
from corosync_amf.config import ConfigError, amf_config_file, load_amf, load_executive, parse_amf, render_text
from corosync_amf.config.authkey import KeyFileError, authkey_of_text, read_authkey
from corosync_amf.config.machine import machine_facts
from corosync_amf.config.settings import ExecutiveConfig
from corosync_amf.connection import SYSTEM_ADDRESS

from .daemon import Daemon, run
from .groups.sockets import TransportError
from .ipc import AddressUnusable, ListenerOptions
from .logs import open_log, unusable_files

GC_THRESHOLD: Final = 50_000
"""Allocations between two looks of the garbage collector: the hot path makes no cycles."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT_BYTES: Final = 16 * 1024 * 1024
BLOCK_BYTES: Final = 4 * 1024 * 1024


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="aisexec")
@click.option("-c", "--config", type=click.Path(path_type=Path), help="corosync.conf; else the environment's.")
@click.option("-a", "--amf-config", type=click.Path(path_type=Path), help="amf.conf; else the environment's.")
@click.option("-t", "--test", is_flag=True, help="Check the configuration and exit.")
@click.option("--development", type=click.Path(path_type=Path), hidden=True)
def aisexec(config: Path | None, amf_config: Path | None, test: bool, development: Path | None) -> None:
    """Run this node's executive until SIGTERM."""
    daemon = _daemon(config, amf_config, development, test)
    for file in unusable_files(daemon.config.logging, daemon.config.subsystems):
        _refuse(f"{daemon.config.file}: error: logging: '{file}' cannot be opened for writing")
    if test:
        click.echo("the configuration is in order")
        return
    try:
        listener = open_log(daemon.config.logging, daemon.config.subsystems, daemon.config.node_name)
    except OSError as error:
        _refuse(f"the log cannot be opened: {error}")
    gc.set_threshold(GC_THRESHOLD)
    gc.freeze()
    _keep_freed_memory()
    try:
        anyio.run(run, daemon, backend_options={"use_uvloop": _has_uvloop()})
    except* (TransportError, AddressUnusable) as group:
        for reason in _leaves(group):
            logging.getLogger("aisexec").critical("%s", reason)
        sys.exit(1)
    finally:
        listener.stop()


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    """The exceptions in a group and in those inside it: each task group on the way up wraps them once more."""
    found: list[Exception] = []
    for each in group.exceptions:
        found += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found


def _keep_freed_memory() -> None:
    """Bundles come and go in bursts; giving their memory back to the kernel each time costs more than copying them.

    Without glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(M_MMAP_THRESHOLD, BLOCK_BYTES)


def _daemon(config_path: Path | None, amf_path: Path | None, development: Path | None, test: bool) -> Daemon:
    try:
        config, warnings = load_executive(config_path, os.environ, machine_facts())
        if config.amf_enabled is False:
            cluster, more = parse_amf("", nodes=config.node_names)
        else:
            cluster, more = load_amf(amf_path, os.environ, nodes=config.node_names)
    except ConfigError as error:
        _refuse(render_text(error.problems))
    if warnings or more:
        click.echo(render_text([*warnings, *more]), err=True)
    key = _key(config) if config.totem.secauth and not test else None
    file, _ = amf_config_file(amf_path, os.environ)
    return Daemon(
        config,
        cluster,
        file.absolute().parent,
        key,
        _socket_path(),
        _allowed(config),
        development,
    )


def _key(config: ExecutiveConfig) -> bytes:
    if config.totem.key is not None:
        return authkey_of_text(config.totem.key)
    try:
        return read_authkey(Path(config.key_file))
    except KeyFileError as error:
        _refuse(str(error))


def _socket_path() -> Path:
    """Where clients find this executive: what the environment says, the system's place for root, else the user's."""
    home = os.environ.get("XDG_RUNTIME_DIR")
    own = f"{home}/corosync-amf/aisexec.sock" if home and os.geteuid() != 0 else SYSTEM_ADDRESS
    return Path(os.environ.get("COROSYNC_AMF_SOCKET") or own)


def _allowed(config: ExecutiveConfig) -> ListenerOptions:
    import grp
    import pwd

    def number(name: str, what: str, look_up: Callable[[str], int]) -> int:
        try:
            return int(name) if name.isascii() and name.isdigit() else look_up(name)
        except KeyError:
            _refuse(f"{config.file}: error: uidgid: there is no {what} '{name}' on this machine")

    return ListenerOptions(
        uids=frozenset(number(name, "user", lambda name: pwd.getpwnam(name).pw_uid) for name in config.allowed_users),
        gids=frozenset(number(name, "group", lambda name: grp.getgrnam(name).gr_gid) for name in config.allowed_groups),
    )


def _has_uvloop() -> bool:
    import importlib.util

    return importlib.util.find_spec("uvloop") is not None


def _refuse(text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(1)
