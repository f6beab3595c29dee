"""Plugins: how they are found, checked and called."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from corosync_amf.arguments import PerFunction
from corosync_amf.component import Component
from corosync_amf.errors import InvalidParam
from corosync_amf.hookspecs import hookimpl
from corosync_amf.plugins import Plugins, load


class Heard:
    """What was called, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []


def call(plugins: Plugins, hook: str, **arguments: Any) -> list[Any]:
    async def body() -> list[Any]:
        return await plugins.call(hook, **arguments)

    return anyio.run(body)


class First:
    def __init__(self, heard: Heard, answer: object = None) -> None:
        self.heard = heard
        self.answer = answer

    @hookimpl
    async def healthcheck(self, key: str) -> object:
        await anyio.lowlevel.checkpoint()
        self.heard.calls.append(f"first {key}")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Second(First):
    @hookimpl
    def healthcheck(self, ctx: str) -> object:  # type: ignore[override]
        self.heard.calls.append(f"second {ctx}")
        return self.answer


class Early(First):
    @hookimpl(tryfirst=True)
    async def healthcheck(self, ctx: str, key: str) -> object:  # type: ignore[override]
        self.heard.calls.append(f"early {ctx} {key}")
        return self.answer


def test_implementations_are_called_one_after_the_other_in_pluggys_order() -> None:
    heard = Heard()
    plugins = Plugins([First(heard, False), Early(heard), Second(heard, True)])
    assert call(plugins, "healthcheck", ctx="c", key="k") == [True, False]
    assert heard.calls == ["early c k", "second c", "first k"]


def test_the_first_that_raises_ends_the_round() -> None:
    heard = Heard()
    plugins = Plugins([Second(heard), First(heard, ValueError("not well"))])
    with pytest.raises(ValueError, match="not well"):
        call(plugins, "healthcheck", ctx="c", key="k")
    assert heard.calls == ["first k"]


def test_a_hook_nobody_implements_is_not_there_and_does_nothing() -> None:
    plugins = Plugins([First(Heard())])
    assert plugins.has("healthcheck")
    assert not plugins.has("restore")
    assert call(plugins, "restore", ctx=None, csi="", state={}) == []


class Counter(Component):
    async def restore(self, ctx: Any, csi: Any, state: Any) -> None:
        """Overrides one hook."""


def test_a_component_implements_the_hooks_that_it_overrides() -> None:
    plugins = Plugins([Counter()])
    implemented = {
        hook
        for hook in ("csi_set", "csi_remove", "restore", "checkpoint", "state_updated", "terminate")
        if plugins.has(hook)
    }
    assert implemented == {"csi_set", "csi_remove", "restore"}


class Doubled(PerFunction):
    def seen_by(self, function: Any) -> str:
        return f"for {function.__qualname__}"


def test_an_argument_may_be_seen_differently_by_each_implementation() -> None:
    heard = Heard()
    call(Plugins([First(heard), Second(heard)]), "healthcheck", ctx=Doubled(), key=Doubled())
    assert heard.calls == ["second for Second.healthcheck", "first for First.healthcheck"]


def test_a_module_may_be_a_plugin() -> None:
    module = ModuleType("some_plugin")

    @hookimpl
    def healthcheck() -> bool:
        return True

    module.healthcheck = healthcheck  # type: ignore[attr-defined]
    assert call(Plugins([module]), "healthcheck", ctx=None, key="k") == [True]


class Misspelt:
    @hookimpl
    def helthcheck(self) -> None:
        """Is no hook."""


class Greedy:
    @hookimpl
    def healthcheck(self, colour: str) -> None:
        """Takes what the hook does not have."""


class Wrapping:
    @hookimpl(wrapper=True)
    def healthcheck(self) -> Any:
        return (yield)


class OldWrapping:
    @hookimpl(hookwrapper=True)
    def healthcheck(self) -> Any:
        yield


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        (Misspelt, "did you mean healthcheck"),
        (Greedy, "colour"),
        (Wrapping, "wrappers are not supported"),
        (OldWrapping, "wrappers are not supported"),
    ],
)
def test_impossible_implementations_are_named(plugin: type, words: str) -> None:
    with pytest.raises(InvalidParam, match=words):
        Plugins([plugin()])


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with a class, an instance and a class that cannot be created."""
    name = f"plugins_{tmp_path.name.replace('-', '_')}"
    code = (
        "class Counter:\n    pass\n"
        "class Broken:\n    def __init__(self): raise RuntimeError('no port')\n"
        "class Box:\n    inner = Counter()\n"
        "counter = Counter()\n"
    )
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_class_is_created_and_anything_else_taken_as_it_is(module: str) -> None:
    assert type(load(f"{module}:Counter")).__name__ == "Counter"
    assert load(f"{module}:counter") is sys.modules[module].counter
    assert load(f"{module}:Box.inner") is sys.modules[module].Box.inner
    assert load(f"{module}:") is sys.modules[module]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "name is missing"),
        ("no_such_module:x", "no_such_module cannot be imported: ModuleNotFoundError"),
        ("{}:Countr", "did you mean Counter"),
        ("{}:Broken", "cannot be created: RuntimeError: no port"),
        ("no-such-entry", "neither module:object nor an entry point"),
    ],
)
def test_what_cannot_be_loaded_says_why(module: str, name: str, words: str) -> None:
    with pytest.raises(InvalidParam, match=words):
        load(name.format(module))


def test_entry_points_name_plugins(tmp_path: Path, module: str) -> None:
    metadata = tmp_path / "thing-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[corosync_amf.components]\ncounter = {module}:Counter\n")
    assert type(load("counter")).__name__ == "Counter"
