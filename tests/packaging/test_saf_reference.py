"""docs/reference/saf.md names every function of the standards, and every Python name in it is there."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import corosync_amf
from corosync_amf import errors

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "saf.md"
SERVICES = ("clm", "ckpt", "evt", "msg", "lck", "tmr", "ntf", "log", "amf", "evs", "cpg")
LIFE = "SelectionObjectGet Dispatch Finalize"
FUNCTIONS = {
    "saClm": f"""Initialize Initialize_3 Initialize_4 {LIFE} ClusterTrack ClusterTrack_4 ClusterTrackStop ClusterNodeGet
        ClusterNodeGet_4 ClusterNodeGetAsync ClusterNotificationFree ClusterNotificationFree_4 Response Response_4""",
    "saCkpt": f"""Initialize Initialize_2 {LIFE} CheckpointOpen CheckpointOpenAsync CheckpointClose CheckpointUnlink
        CheckpointRetentionDurationSet ActiveReplicaSet CheckpointStatusGet SectionCreate SectionDelete SectionIdFree
        SectionExpirationTimeSet SectionIterationInitialize SectionIterationNext SectionIterationFinalize
        CheckpointWrite SectionOverwrite CheckpointRead IOVectorElementDataFree CheckpointSynchronize
        CheckpointSynchronizeAsync Track TrackStop CheckpointTrack CheckpointTrackStop""",
    "saEvt": f"""Initialize {LIFE} ChannelOpen ChannelOpenAsync ChannelClose ChannelUnlink EventAllocate EventFree
        EventAttributesSet EventAttributesGet EventPatternFree EventDataGet EventPublish EventSubscribe EventUnsubscribe
        EventRetentionTimeClear LimitGet""",
    "saMsg": f"""Initialize {LIFE} QueueOpen QueueOpenAsync QueueClose QueueStatusGet QueueRetentionTimeSet QueueUnlink
        QueueGroupCreate QueueGroupInsert QueueGroupRemove QueueGroupDelete QueueGroupTrack QueueGroupTrackStop
        QueueGroupNotificationFree MessageSend MessageSendAsync MessageGet MessageDataFree MessageCancel
        MessageSendReceive MessageReply MessageReplyAsync QueueCapacityThresholdsSet QueueCapacityThresholdsGet
        MetadataSizeGet LimitGet""",
    "saLck": f"""Initialize {LIFE} OptionCheck ResourceOpen ResourceOpenAsync ResourceClose ResourceLock
        ResourceLockAsync ResourceUnlock ResourceUnlockAsync LockPurge LimitGet""",
    "saTmr": f"""Initialize {LIFE} TimerStart TimerReschedule TimerCancel PeriodicTimerSkip TimerRemainingTimeGet
        TimerAttributesGet TimeGet ClockTickGet""",
    "saNtf": f"""Initialize Initialize_2 Initialize_3 {LIFE} ObjectCreateDeleteNotificationAllocate
        AttributeChangeNotificationAllocate StateChangeNotificationAllocate StateChangeNotificationAllocate_3
        AlarmNotificationAllocate SecurityAlarmNotificationAllocate MiscellaneousNotificationAllocate NotificationFree
        PtrValAllocate PtrValGet ArrayValAllocate ArrayValGet VariableDataSizeGet LocalizedMessageGet
        LocalizedMessageFree LocalizedMessageFree_2 IdentifierAllocate NotificationSend NotificationSendWithId
        ObjectCreateDeleteNotificationFilterAllocate AttributeChangeNotificationFilterAllocate
        StateChangeNotificationFilterAllocate StateChangeNotificationFilterAllocate_2 AlarmNotificationFilterAllocate
        SecurityAlarmNotificationFilterAllocate MiscellaneousNotificationFilterAllocate NotificationFilterFree
        NotificationSubscribe NotificationSubscribe_3 NotificationUnsubscribe NotificationUnsubscribe_2
        NotificationReadInitialize NotificationReadInitialize_2 NotificationReadInitialize_3 NotificationReadNext
        NotificationReadNext_3 NotificationReadFinalize""",
    "saLog": f"""Initialize {LIFE} StreamOpen_2 StreamOpenAsync_2 StreamClose WriteLog WriteLogAsync LimitGet""",
    "saAmf": f"""Initialize Initialize_3 Initialize_4 {LIFE} ComponentRegister ComponentUnregister ComponentNameGet
        PmStart PmStart_3 PmStop HealthcheckStart HealthcheckConfirm HealthcheckStop CSIQuiescingComplete HAStateGet
        HAReadinessStateSet ProtectionGroupTrack ProtectionGroupTrack_4 ProtectionGroupTrackStop
        ProtectionGroupNotificationFree ProtectionGroupNotificationFree_4 ComponentErrorReport ComponentErrorReport_4
        ComponentErrorClear ComponentErrorClear_4 CorrelationIdsGet Response Response_4""",
    "evs_": """initialize finalize fd_get context_get context_set dispatch join leave mcast_joined mcast_groups
        membership_get""",
    "cpg_": """initialize model_initialize finalize fd_get max_atomic_msgsize_get context_get context_set dispatch join
        leave mcast_joined membership_get local_get flow_control_state_get zcb_alloc zcb_free zcb_mcast_joined
        iteration_initialize iteration_next iteration_finalize""",
}
"""The functions of the public headers."""
NAMES = [prefix + name for prefix, names in FUNCTIONS.items() for name in names.split()]


def rows() -> Iterator[tuple[str, str | None, str]]:
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        match = re.fullmatch(r"\| ([A-Za-z_0-9]+) \| (?:`([\w.]+)`|-) \| (.*) ?\|", line)
        if match:
            yield match[1], match[2], match[3].strip()


def additions() -> list[str]:
    text = PAGE.read_text(encoding="utf-8").partition("## What C does not have")[2]
    return re.findall(r"^\| `([\w.]+)` \| .+ \|$", text, re.MULTILINE)


ROWS = list(rows())
PYTHON = {python for _, python, _ in ROWS if python is not None}


def find(path: str) -> Any:
    """The object of that name; of an attribute of instances, the class that has it."""
    value: Any = corosync_amf
    for name in path.split("."):
        if inspect.isclass(value) and not hasattr(value, name):
            own = [kind for kind in value.__mro__ if kind is not object]
            declared = any(name in getattr(kind, "__annotations__", {}) for kind in own)
            assigned = any(re.search(rf"self\.{name}\b(: [^=]+)? = ", inspect.getsource(kind)) for kind in own)
            assert declared or assigned, f"{path}: {value.__name__} has no {name}"
            return value
        assert hasattr(value, name), f"{path}: {getattr(value, '__name__', value)} has no {name}"
        value = getattr(value, name)
    return value


def method_names(path: str) -> set[str]:
    """The C names, without version, from which the naming rule makes this Python name."""
    service, *owner, method = path.split(".")
    camel = "".join(part.capitalize() for part in method.split("_"))
    nouns = [""] if not owner or owner[0].endswith("Service") else ["", owner[0]]
    return {f"sa{service.capitalize()}{noun}{camel}".lower() for noun in nouns}


def test_no_name_is_there_twice() -> None:
    names = [name for name, _, _ in ROWS]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("name", NAMES)
def test_every_function_of_the_headers_has_its_row(name: str) -> None:
    assert name in {row for row, _, _ in ROWS}


@pytest.mark.parametrize("code", [code for code in corosync_amf.ais.ErrorCode if code.value > 1])
def test_every_error_has_its_row(code: Any) -> None:
    assert f"errors.{errors.from_code(code).__name__}" in PYTHON
    assert f"SA_AIS_ERR_{code.name}" in {row for row, _, _ in ROWS}


def test_no_function_is_there_that_no_header_has() -> None:
    functions = [name for name, _, _ in ROWS if name.startswith(tuple(FUNCTIONS)) and not name.endswith("_fn_t")]
    assert sorted(functions) == sorted(NAMES)


@pytest.mark.parametrize(("name", "python", "note"), ROWS, ids=[name for name, _, _ in ROWS])
def test_the_python_name_is_there_or_the_reason_why_not(name: str, python: str | None, note: str) -> None:
    if python is None:
        assert note
        return
    found = find(python)
    if name.startswith(("sa", "evs_", "cpg_")) and not name.endswith("_fn_t") and note != "an attribute":
        assert callable(found)
        assert inspect.getdoc(found), f"{python} says nothing about itself"


@pytest.mark.parametrize(("name", "python", "note"), ROWS, ids=[name for name, _, _ in ROWS])
def test_names_follow_the_rule_or_say_why_not(name: str, python: str | None, note: str) -> None:
    if python is None or note or not name.startswith("sa"):
        return
    assert re.sub(r"_\d$", "", name).lower() in method_names(python)


@pytest.mark.parametrize("python", additions())
def test_what_c_does_not_have_is_there(python: str) -> None:
    find(python)


def methods_of(service: str) -> Iterator[tuple[str, str]]:
    """Every public method that says which C function it is, and which."""
    module = importlib.import_module(f"corosync_amf.services.{service}")
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isfunction(value):
            yield f"{service}.{name}", inspect.getdoc(value) or ""
        elif inspect.isclass(value) and value.__module__.startswith("corosync_amf.services."):
            for method, function in inspect.getmembers(value, inspect.isfunction):
                if not method.startswith("_"):
                    yield f"{service}.{name}.{method}", inspect.getdoc(function) or ""


@pytest.mark.parametrize("service", SERVICES)
def test_every_method_that_stands_for_a_function_is_in_the_table(service: str) -> None:
    functions = {re.sub(r"_\d$", "", name) for name in NAMES}
    stand_for = []
    for path, words in methods_of(service):
        source = re.search(r"Source: ([\w<>]+)", words)
        if source and re.sub(r"_\d$", "", source[1].replace("<Svc>", service.capitalize())) in functions:
            stand_for.append(path)
    assert stand_for
    assert sorted(path for path in stand_for if path not in PYTHON | set(additions())) == []


@pytest.mark.parametrize("service", SERVICES)
def test_every_event_of_the_callbacks_is_exported(service: str) -> None:
    module = importlib.import_module(f"corosync_amf.services.{service}")
    events = [python for name, python, note in ROWS if note.startswith("event") and python is not None]
    own = [python.partition(".")[2] for python in events if python.startswith(f"{service}.")]
    assert own
    assert sorted(set(own) - set(module.__all__)) == []
