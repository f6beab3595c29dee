"""The names of the package: all there, and imported only when they are used."""

import subprocess
import sys

import pytest

import corosync_amf
from corosync_amf import errors


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import corosync_amf; print(*sorted(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = [
        name for name in run.stdout.split() if name.partition(".")[0] in ("corosync_amf", "anyio", "msgspec", "asyncio")
    ]
    assert ours == ["corosync_amf", "corosync_amf._version"]


def test_every_public_name_is_there() -> None:
    for name in corosync_amf.__all__:
        assert getattr(corosync_amf, name) is not None
    assert dir(corosync_amf) == sorted(corosync_amf.__all__)


def test_every_error_class_is_exported() -> None:
    kinds = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert kinds <= set(corosync_amf.__all__)
    for name in kinds:
        assert getattr(corosync_amf, name) is getattr(errors, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        corosync_amf.nonsense  # noqa: B018


def test_assignment_of_a_component_is_not_the_state_of_a_service_instance() -> None:
    assert issubclass(corosync_amf.Assignment, str)
    both: set[type] = {corosync_amf.Assignment, corosync_amf.ais.Assignment}
    assert len(both) == 2
    assert corosync_amf.ais.Assignment.FULLY_ASSIGNED
