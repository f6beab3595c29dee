"""The plugins that make up one component: found by name, checked, and called.

pluggy finds the implementations and puts them in order; the calls are made here, one after the other, because an
implementation may be a coroutine.
"""

import importlib
import inspect
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final

import pluggy

from corosync_amf import hookspecs
from corosync_amf.arguments import PerFunction
from corosync_amf.errors import InvalidParam

ENTRY_POINT_GROUP: Final = "corosync_amf.components"


class Plugins:
    """The hooks of one component.

    `plugins` are objects or modules with implementations marked by `hookimpl`. An object whose class sets
    `unmarked_hooks = True` (as `Component` does) implements every hook that it has a method for, but for the methods
    that are marked as doing nothing (`does_nothing`).

    Raises: InvalidParam: an implementation is misspelt, takes an argument that its hook does not have, or is a
    wrapper; the reason names it.
    """

    def __init__(self, plugins: Iterable[object]) -> None:
        self.plugins: Final = tuple(plugins)
        manager = _Manager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        try:
            for plugin in self.plugins:
                manager.register(plugin)
            manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            raise InvalidParam(_explained(str(error))) from None
        self._implementations: Final = {name: _in_call_order(manager, name) for name in _HOOKS}

    def has(self, hook: str) -> bool:
        """Whether any plugin implements the hook."""
        return bool(self._implementations[hook])

    def count(self, hook: str) -> int:
        """How many implementations the hook has."""
        return len(self._implementations[hook])

    async def call(self, hook: str, **arguments: Any) -> list[Any]:
        """Call every implementation in turn, each with those of `arguments` that it takes.

        Returns the results that are not None. What an implementation raises ends the round.
        """
        results = []
        for implementation in self._implementations[hook]:
            given = [arguments[name] for name in implementation.argnames]
            function = implementation.function
            result = function(*[arg.seen_by(function) if isinstance(arg, PerFunction) else arg for arg in given])
            if inspect.isawaitable(result):
                result = await result
            if result is not None:
                results.append(result)
        return results


class _Manager(pluggy.PluginManager):
    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        options = super().parse_hookimpl_opts(plugin, name)
        if options is None:
            method = getattr(plugin, name, None)
            if getattr(plugin, "unmarked_hooks", False) is not True or name not in _HOOKS:
                return None
            if not callable(method) or getattr(method, "does_nothing", False):
                return None
            options = pluggy.HookimplOpts(
                wrapper=False, hookwrapper=False, optionalhook=False, tryfirst=False, trylast=False, specname=None
            )
        if options["wrapper"] or options["hookwrapper"]:
            raise ValueError(f"hook wrappers are not supported: {name}")
        return options


def _hook_names() -> tuple[str, ...]:
    return tuple(name for name, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.PROJECT}_spec"))


_HOOKS: Final = _hook_names()


def _in_call_order(manager: pluggy.PluginManager, hook: str) -> tuple[pluggy.HookImpl, ...]:
    caller: pluggy.HookCaller = getattr(manager.hook, hook)
    return tuple(reversed(caller.get_hookimpls()))


def _explained(problem: str) -> str:
    """Add the nearest hook's name to pluggy's complaint about an unknown one."""
    words = problem.replace("'", " ").split()
    if "unknown hook" in problem:
        near = [hook for word in words for hook in get_close_matches(word, _HOOKS, n=1, cutoff=0.7)]
        problem += f"; did you mean {near[0]}?" if near else f"; the hooks are {', '.join(_HOOKS)}"
    return problem


def load(name: str) -> object:
    """Return the plugin that `name` names: `module:object`, or an entry point of the group corosync_amf.components.

    A class is instantiated, anything else is taken as it is.

    Raises: InvalidParam: it cannot be found, imported or created; the reason says what went wrong.
    """
    found = find(name)
    if not isinstance(found, type):
        return found
    try:
        return found()
    except Exception as error:
        raise InvalidParam(f"{name} cannot be created: {type(error).__name__}: {error}") from error


def find(name: str) -> object:
    """What a plugin's name names, as in `load`; a class is not instantiated.

    Raises: InvalidParam: it cannot be found or imported; the reason says what went wrong.
    """
    if not name:
        raise InvalidParam("a plugin's name is missing: give module:object or the name of an entry point")
    return _imported(name) if ":" in name else _entry_point(name)


def _imported(name: str) -> object:
    module_name, _, path = name.partition(":")
    try:
        found: object = importlib.import_module(module_name)
    except Exception as error:
        raise InvalidParam(f"{module_name} cannot be imported: {type(error).__name__}: {error}") from error
    for attribute in path.split(".") if path else ():
        try:
            found = getattr(found, attribute)
        except AttributeError:
            near = get_close_matches(attribute, dir(found), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InvalidParam(f"{module_name} has no {path}{hint}") from None
    return found


def _entry_point(name: str) -> object:
    from importlib.metadata import entry_points  # slow to import, and not needed for module:object

    points = entry_points(group=ENTRY_POINT_GROUP)
    for point in points:
        if point.name == name:
            return _imported(point.value)
    known = ", ".join(sorted(point.name for point in points)) or "none"
    raise InvalidParam(
        f"'{name}' is neither module:object nor an entry point of {ENTRY_POINT_GROUP} (there are: {known})"
    )
