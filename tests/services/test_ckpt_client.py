"""CKPT as applications use it: real sessions on executives in one process."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from corosync_amf import ckpt, connect, errors
from corosync_amf.errors import AisError
from corosync_amf.services.ckpt import (
    CreationAttributes,
    CreationFlags,
    IoVector,
    OpenFlags,
    SectionOperation,
    SectionsChosen,
)
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.clm.engine import ClmEngine

from .loopback import Loopback, eventually, loopback

pytestmark = [pytest.mark.anyio, pytest.mark.real]

SMALL = CreationAttributes(max_sections=4, max_section_size=100, max_section_id_size=20, checkpoint_size=250)
ONE = CreationAttributes(max_sections=1, max_section_size=100)
WEAK = CreationAttributes(CreationFlags.WR_ACTIVE_REPLICA_WEAK)
COLLOCATED = CreationAttributes(CreationFlags.WR_ACTIVE_REPLICA | CreationFlags.CHECKPOINT_COLLOCATED)
DELETED, CREATED, WRITTEN = SectionOperation.DELETED, SectionOperation.CREATED, SectionOperation.WRITTEN


@pytest.fixture(params=[1, 3], ids=["one node", "three nodes"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Loopback]:
    async with loopback(lambda: [ClmEngine(), CkptEngine()], request.param) as running:
        yield running
        await eventually(lambda: running.states()[0] == running.states()[-1])


def on(cluster: Loopback, node: int = 1, **arguments: Any) -> Any:
    """A session on a node; with one node all are on that."""
    return ckpt.initialize(address=cluster.nodes[min(node, len(cluster.nodes))].address, **arguments)


async def test_what_one_node_writes_another_reads(cluster: Loopback) -> None:
    async with (
        on(cluster, 1) as here,
        on(cluster, 2) as there,
        here.checkpoint_open("calls", creation_attributes=SMALL) as calls,
    ):
        await calls.section_create("call-17", b"ringing")
        await calls.write_batch({"call-17": b"answered", b"call-16": b"held"}, epoch=42)
        await calls.write([IoVector("call-16", bytearray(b"HE")), IoVector("call-17", memoryview(b"!"), offset=8)])
        await calls.section_overwrite("call-16", b"gone")
        await calls.section_delete("call-16")
        async with there.checkpoint_open("calls", OpenFlags.READ) as other:
            assert await other.read([IoVector("call-17"), IoVector("call-17", offset=2, size=3)]) == [
                b"answered!",
                b"swe",
            ]
            assert await other.read_all() == {b"call-17": b"answered!"}
            status = await other.status_get()
    assert (status.number_of_sections, status.memory_used, status.epoch) == (1, 9, 42)
    assert status.checkpoint_creation_attributes == SMALL


async def test_a_session_of_the_cluster_object_shares_the_connection(cluster: Loopback) -> None:
    async with connect(cluster.nodes[1].address) as session, session.ckpt() as service:
        handle = await service.checkpoint_open("c", creation_attributes=SMALL)
        assert await handle.section_create(None) != await handle.section_create(None)
        await service.checkpoint_unlink("c")
        await handle.close()
        assert service.version == "B.02.02"


async def test_flags_follow_from_the_attributes_unless_they_are_named(cluster: Loopback) -> None:
    async with on(cluster) as service:
        made = await service.checkpoint_open("c", creation_attributes=SMALL)
        assert made.open_flags == OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE
        found = await service.checkpoint_open("c")
        assert found.open_flags == OpenFlags.READ | OpenFlags.WRITE
        assert found.creation_attributes == SMALL
        default = await service.checkpoint_open("d", creation_attributes=CreationAttributes())
        assert default.creation_attributes.checkpoint_size == 1024 * 65536


BAD_OPENINGS: list[tuple[tuple[Any, ...], type[AisError]]] = [
    (("c", 0), errors.BadFlags),
    (("c", 8), errors.BadFlags),
    (("c", "rw"), errors.InvalidParam),
    (("c", OpenFlags.CREATE), errors.InvalidParam),
    (("c", OpenFlags.READ, SMALL), errors.InvalidParam),
    (("c", None, "attributes"), errors.InvalidParam),
    (("c", None, CreationAttributes(CreationFlags(16 | 1))), errors.BadFlags),
    (("c", None, CreationAttributes(CreationFlags(0))), errors.InvalidParam),
    (
        ("c", None, CreationAttributes(CreationFlags.WR_ALL_REPLICAS | CreationFlags.WR_ACTIVE_REPLICA)),
        errors.InvalidParam,
    ),
    (("c", None, CreationAttributes(CreationFlags.CHECKPOINT_COLLOCATED)), errors.InvalidParam),
    (("c", None, CreationAttributes(max_sections=0)), errors.InvalidParam),
    (("c", None, CreationAttributes(max_sections=True)), errors.InvalidParam),
    (("c", None, CreationAttributes(max_section_size=2**24 + 1)), errors.InvalidParam),
    (("c", None, CreationAttributes(max_section_id_size=256)), errors.InvalidParam),
    (("c", None, CreationAttributes(checkpoint_size=2**28 + 1, max_sections=10_000)), errors.InvalidParam),
    (("c", None, CreationAttributes(checkpoint_size=0)), errors.InvalidParam),
    (("c", None, CreationAttributes(checkpoint_size=101, max_sections=1, max_section_size=100)), errors.InvalidParam),
    (("c", None, CreationAttributes(max_sections=1_000_001)), errors.InvalidParam),
    (("c", None, CreationAttributes(max_section_size=0)), errors.InvalidParam),
    (("c", None, CreationAttributes(max_section_id_size=0)), errors.InvalidParam),
    (("c", None, CreationAttributes(retention_duration=-1.0)), errors.InvalidParam),
    (("c", None, CreationAttributes(retention_duration=float("nan"))), errors.InvalidParam),
    (("c", None, CreationAttributes(persistent=1)), errors.InvalidParam),  # type: ignore[arg-type]
    ((None,), errors.InvalidParam),
    (("",), errors.InvalidParam),
    (("x" * 2049,), errors.TooBig),
]


async def test_impossible_openings_are_refused(cluster: Loopback) -> None:
    async with on(cluster) as service:
        for arguments, error in BAD_OPENINGS:
            with pytest.raises(error) as caught:
                await service.checkpoint_open(*arguments)
            assert type(caught.value) is error, arguments
            with pytest.raises(error):
                service.checkpoint_open_async(*arguments)


async def test_refused_openings_tell_why(cluster: Loopback) -> None:
    async with on(cluster) as service:
        with pytest.raises(errors.NotExist):
            await service.checkpoint_open("c")
        await service.checkpoint_open("c", creation_attributes=SMALL)
        with pytest.raises(errors.Exist):
            await service.checkpoint_open("c", creation_attributes=ONE)
        with pytest.raises(errors.NotSupported, match="persistent checkpoints"):
            await service.checkpoint_open("p", creation_attributes=CreationAttributes(persistent=True))
        with pytest.raises(errors.TimedOut):
            await service.checkpoint_open("c", timeout=0)
        with pytest.raises(errors.InvalidParam):
            await service.checkpoint_open("c", timeout=-1)


async def test_the_outcome_of_an_asynchronous_opening_is_also_an_event(cluster: Loopback) -> None:
    async with on(cluster) as service:
        pending = service.checkpoint_open_async("c", creation_attributes=SMALL, invocation=77)
        opened = await pending
        failed = service.checkpoint_open_async("nothing", invocation=78)
        with pytest.raises(errors.NotExist):
            await failed
        events = []
        async for event in service:
            events.append((event.invocation, event.checkpoint, type(event.error)))
            if len(events) == 2:
                break
        assert events == [(77, opened, type(None)), (78, None, errors.NotExist)]
        assert pending.invocation == 77


async def test_events_that_were_left_out_cannot_be_asked_for(cluster: Loopback) -> None:
    async with on(cluster, events=ckpt.Callback(0)) as service:
        with pytest.raises(errors.Init):
            service.checkpoint_open_async("c")
        with pytest.raises(errors.Init):
            service.checkpoint_open_async("x" * 2049)
        with pytest.raises(errors.Init):
            await service.track()
        async with service.checkpoint_open("c", creation_attributes=WEAK) as handle:
            with pytest.raises(errors.Init):
                await handle.track()
            with pytest.raises(errors.Init):
                handle.synchronize_async()
            with pytest.raises(errors.Init):
                async for _ in handle.changes():
                    pass


BAD_CALLS: list[tuple[str, tuple[Any, ...], type[AisError]]] = [
    ("retention_duration_set", ("long",), errors.InvalidParam),
    ("retention_duration_set", (-1.0,), errors.InvalidParam),
    ("section_create", ("s",), errors.Exist),
    ("section_create", ("big", b"d" * 100), errors.NoSpace),
    ("section_delete", ("x",), errors.NotExist),
    ("section_expiration_time_set", ("x", None), errors.NotExist),
    ("section_overwrite", ("s", b"d" * 100), errors.NoSpace),
    ("write", ([IoVector("x", b"")],), errors.NotExist),
    ("write", ([IoVector("s", b"d", 99)],), errors.NoSpace),
    ("write", ([IoVector("s", b"d" * 101)],), errors.InvalidParam),
    ("write", ([IoVector("s", b"")] * 65_537,), errors.InvalidParam),
    ("write_batch", ({"s": b"d" * 100},), errors.NoSpace),
    ("write_batch", ({"1": b"", "2": b"", "3": b""},), errors.NoSpace),
    ("write_batch", ({"": b""},), errors.InvalidParam),
    ("read", ([IoVector("s")] * 65_537,), errors.InvalidParam),
    ("read", ([IoVector("s", offset=-1)],), errors.InvalidParam),
    ("read", (None,), errors.InvalidParam),
    ("section_iteration_initialize", (SectionsChosen.LEQ_EXPIRATION_TIME,), errors.InvalidParam),
    ("section_create", (17,), errors.InvalidParam),
    ("section_create", ("s" * 21,), errors.InvalidParam),
    ("section_create", ("",), errors.InvalidParam),
    ("section_create", ("s", None), errors.InvalidParam),
    ("section_create", ("s", b"d" * 101), errors.InvalidParam),
    ("section_delete", (None,), errors.InvalidParam),
    ("section_delete", (b"",), errors.InvalidParam),
    ("section_expiration_time_set", (b"", None), errors.InvalidParam),
    ("section_expiration_time_set", ("s", float("inf")), errors.InvalidParam),
    ("section_expiration_time_set", ("s", 1.0), errors.InvalidParam),
    ("section_overwrite", ("s", None), errors.InvalidParam),
    ("section_overwrite", ("s", b"d" * 101), errors.InvalidParam),
    ("section_overwrite", ("x", b""), errors.NotExist),
    ("write", ([],), errors.InvalidParam),
    ("write", (None,), errors.InvalidParam),
    ("write", (["s"],), errors.InvalidParam),
    ("write", ([IoVector("s")],), errors.InvalidParam),
    ("write", ([IoVector("s", b"", -1)],), errors.InvalidParam),
    ("write", ([IoVector("s", b"1", 100)],), errors.InvalidParam),
    ("write_batch", ({},), errors.InvalidParam),
    ("write_batch", (["s"],), errors.InvalidParam),
    ("write_batch", ({"s": b"", b"s": b""},), errors.InvalidParam),
    ("write_batch", ({"s": "text"},), errors.InvalidParam),
    ("write_batch", ({"x": None},), errors.NotExist),
    ("read", ([],), errors.InvalidParam),
    ("read", ([IoVector("s", size=-1)],), errors.InvalidParam),
    ("read", ([IoVector("s", offset=99)],), errors.InvalidParam),
    ("read", ([IoVector("x")],), errors.NotExist),
    ("fence", (-1,), errors.InvalidParam),
    ("fence", (None,), errors.InvalidParam),
    ("section_iteration_initialize", (9,), errors.InvalidParam),
    ("section_iteration_initialize", (SectionsChosen.GEQ_EXPIRATION_TIME,), errors.InvalidParam),
    ("active_replica_set", (), errors.BadOperation),
    ("synchronize", (), errors.BadOperation),
    ("track_stop", (), errors.NotExist),
]


async def test_bad_calls_are_refused_and_change_nothing(cluster: Loopback) -> None:
    async with on(cluster) as service, service.checkpoint_open("c", creation_attributes=SMALL) as handle:
        await handle.write_batch({"s": b"data", "f": b"d" * 90, "g": b"d" * 90})
        for name, arguments, error in BAD_CALLS:
            with pytest.raises(error) as caught:
                await getattr(handle, name)(*arguments)
            assert type(caught.value) is error, (name, arguments)
        for name in ("section_delete", "section_create"):
            with pytest.raises(errors.InvalidParam):
                await getattr(handle, name)("s", epoch="new")
        for expiration in (1.0, "soon"):
            with pytest.raises(errors.InvalidParam):
                await handle.section_create("t", expiration_time=expiration)
        for call in (handle.write, handle.read):
            with pytest.raises(errors.NotExist) as caught:
                await call([IoVector("s", b""), IoVector("x", b"")])
            assert caught.value.erroneous_vector_index == 1
        with pytest.raises(errors.InvalidParam):
            await handle.track(data=None)
        assert await handle.read_all() == {b"s": b"data", b"f": b"d" * 90, b"g": b"d" * 90}


async def test_the_default_section_can_only_be_written_and_read(cluster: Loopback) -> None:
    async with on(cluster) as service, service.checkpoint_open("one", creation_attributes=ONE) as handle:
        assert await handle.read_all() == {b"": b""}
        for call, error in (
            (lambda: handle.section_create(b""), errors.Exist),
            (lambda: handle.section_create(None), errors.NoSpace),
            (lambda: handle.section_create("s"), errors.NoSpace),
            (lambda: handle.section_delete(b""), errors.InvalidParam),
            (lambda: handle.section_expiration_time_set(b"", None), errors.InvalidParam),
            (lambda: handle.write_batch({b"": None}), errors.InvalidParam),
        ):
            with pytest.raises(error) as caught:
                await call()
            assert type(caught.value) is error
        await handle.section_overwrite(ckpt.DEFAULT_SECTION_ID, b"data")
        await handle.write([IoVector(b"", b"!", 6)])
        assert await handle.read([IoVector(b"")]) == [b"data\0\0!"]


async def test_a_generated_id_must_fit(cluster: Loopback) -> None:
    short = CreationAttributes(max_section_id_size=7)
    async with on(cluster) as service:
        async with service.checkpoint_open("short", creation_attributes=short) as handle:
            with pytest.raises(errors.InvalidParam):
                await handle.section_create(ckpt.GENERATED_SECTION_ID)
        async with service.checkpoint_open("c", creation_attributes=SMALL) as handle:
            made = {await handle.section_create(None) for _ in range(4)}
            assert len(made) == 4
            with pytest.raises(errors.NoSpace):
                await handle.section_create(None)
            with pytest.raises(errors.NoSpace):
                await handle.section_create("s")


async def test_an_unlinked_name_is_free_and_its_data_live_on_for_who_has_them_open(cluster: Loopback) -> None:
    async with on(cluster, 1) as here, on(cluster, 2) as there:
        with pytest.raises(errors.NotExist):
            await here.checkpoint_unlink("c")
        with pytest.raises(errors.TooBig):
            await here.checkpoint_unlink("x" * 2049)
        old = await here.checkpoint_open("c", creation_attributes=SMALL)
        await old.section_create("s", b"old")
        await there.checkpoint_unlink("c")
        with pytest.raises(errors.NotExist):
            await there.checkpoint_unlink("c")
        with pytest.raises(errors.BadOperation):
            await old.retention_duration_set(1.0)
        new = await there.checkpoint_open("c", creation_attributes=WEAK)
        assert await new.read_all() == {}
        assert await old.read_all() == {b"s": b"old"}


async def test_a_collocated_checkpoint_without_active_replica_does_not_exist_yet(cluster: Loopback) -> None:
    async with on(cluster) as service:
        handle = await service.checkpoint_open("c", creation_attributes=COLLOCATED)
        for call in (
            handle.status_get,
            handle.read_all,
            handle.synchronize,
            handle.section_iteration_initialize,
            lambda: handle.section_create("s"),
            lambda: handle.section_delete("s"),
            lambda: handle.section_overwrite("s", b""),
            lambda: handle.section_expiration_time_set("s", None),
            lambda: handle.write([IoVector("s", b"")]),
            lambda: handle.write_batch({"s": b""}),
            lambda: handle.read([IoVector("s")]),
        ):
            with pytest.raises(errors.NotExist, match="no active replica"):
                await call()
        await handle.active_replica_set()
        await handle.section_create("s")
        await handle.synchronize(timeout=10.0)
        with pytest.raises(errors.TimedOut):
            await handle.synchronize(timeout=0)
        for attributes in (WEAK, CreationAttributes(CreationFlags(1 | 8))):
            async with service.checkpoint_open("other", creation_attributes=attributes) as other:
                with pytest.raises(errors.BadOperation):
                    await other.active_replica_set()


async def test_every_change_with_an_old_epoch_is_denied(cluster: Loopback) -> None:
    async with on(cluster) as service, service.checkpoint_open("c", creation_attributes=SMALL) as handle:
        await handle.section_create("s", b"data", epoch=7)
        for call in (
            lambda: handle.section_create("t", epoch=6),
            lambda: handle.section_delete("s", epoch=6),
            lambda: handle.section_overwrite("s", b"", epoch=6),
            lambda: handle.write([IoVector("s", b"")], epoch=6),
            lambda: handle.write_batch({"s": b""}, epoch=6),
            lambda: handle.fence(6),
        ):
            with pytest.raises(errors.AccessDenied) as caught:
                await call()
            assert caught.value.epoch == 7
        assert await handle.read_all() == {b"s": b"data"}
        await handle.fence(8)
        assert (await handle.status_get()).epoch == 8


async def test_the_first_check_that_applies_is_what_is_raised(cluster: Loopback) -> None:
    async with on(cluster, events=ckpt.Callback(0)) as service:
        writer = await service.checkpoint_open("c", creation_attributes=SMALL)
        reader = await service.checkpoint_open("c", OpenFlags.READ)
        writer_only = await service.checkpoint_open("c", OpenFlags.WRITE)
        for call, error in (
            (lambda: service.checkpoint_open("", 0), errors.BadFlags),
            (lambda: service.checkpoint_open("x" * 2049, OpenFlags.CREATE), errors.InvalidParam),
            (lambda: service.checkpoint_open("x" * 2049, timeout=-1), errors.InvalidParam),
            (lambda: service.checkpoint_open("x", 0, timeout=-1), errors.BadFlags),
            (lambda: reader.section_create("s" * 21), errors.InvalidParam),
            (lambda: reader.section_overwrite("x", b""), errors.Access),
            (lambda: reader.write([]), errors.InvalidParam),
            (lambda: reader.fence(-1), errors.InvalidParam),
            (lambda: reader.active_replica_set(), errors.Access),
            (lambda: reader.track(data=1), errors.InvalidParam),
            (lambda: anext(reader.changes(current=None)), errors.InvalidParam),
            (lambda: anext(writer_only.changes(current=True)), errors.Init),
        ):
            with pytest.raises(error) as caught:
                await call()
            assert type(caught.value) is error
        with pytest.raises(errors.Init):
            reader.synchronize_async()
        await writer.close()
        with pytest.raises(errors.BadHandle):
            await writer.write([])
        with pytest.raises(errors.BadHandle):
            await writer.close()


async def test_one_call_writes_sixteen_megabytes_at_most(cluster: Loopback) -> None:
    big = CreationAttributes(max_sections=4, max_section_size=2**24)
    async with on(cluster) as service, service.checkpoint_open("c", creation_attributes=big) as handle:
        data = bytes(2**24)
        with pytest.raises(errors.NoResources):
            await handle.write_batch({"1": data, "2": b"x"})
        with pytest.raises(errors.NoResources):
            await handle.write([IoVector("1", data), IoVector("2", b"x")])
        await handle.write_batch({"1": data})
        await handle.write_batch({"2": data})
        assert {key: len(value) for key, value in (await handle.read_all()).items()} == {b"1": 2**24, b"2": 2**24}


async def test_ids_that_do_not_fit_one_request_are_a_limit_like_the_data(cluster: Loopback) -> None:
    many = CreationAttributes(max_sections=65_536, max_section_size=256)
    keys = [f"{number:0255d}" for number in range(65_536)]
    async with on(cluster) as service, service.checkpoint_open("c", creation_attributes=many) as handle:
        await handle.write_batch(dict.fromkeys(keys[:1000], b"data"))
        for call in (
            handle.write_batch(dict.fromkeys(keys, b"d" * 200)),
            handle.write([IoVector(keys[0], b"d" * 200)] * 65_536),
        ):
            with pytest.raises(errors.NoResources):
                await call
        assert (await handle.status_get()).memory_used == 4000


async def test_handles_have_their_own_rights(cluster: Loopback) -> None:
    async with on(cluster) as service:
        writer = await service.checkpoint_open("c", creation_attributes=SMALL)
        await writer.section_create("s")
        reader = await service.checkpoint_open("c", OpenFlags.READ)
        blind = await service.checkpoint_open("c", OpenFlags.WRITE)
        for name, arguments in (
            ("section_create", ("x",)),
            ("section_delete", ("s",)),
            ("section_overwrite", ("s", b"")),
            ("section_expiration_time_set", ("s", None)),
            ("write", ([IoVector("s", b"")],)),
            ("write_batch", ({"s": b""},)),
            ("fence", (1,)),
            ("synchronize", ()),
            ("active_replica_set", ()),
        ):
            with pytest.raises(errors.Access):
                await getattr(reader, name)(*arguments)
        with pytest.raises(errors.Access):
            reader.synchronize_async()
        with pytest.raises(errors.InvalidParam):
            await reader.synchronize(timeout=-1)
        for call in (blind.read([IoVector("s")]), blind.read_all()):
            with pytest.raises(errors.Access):
                await call
        async for descriptor in await blind.section_iteration_initialize():
            assert descriptor.section_id == b"s"


async def test_closed_objects_are_bad_handles(cluster: Loopback) -> None:
    async with on(cluster) as service:
        handle = await service.checkpoint_open("c", creation_attributes=SMALL)
        iterator = await handle.section_iteration_initialize()
        other = await handle.section_iteration_initialize()
        await other.finalize()
        for call in (other.next, other.finalize):
            with pytest.raises(errors.BadHandle):
                await call()
        await handle.close()
        for call in (handle.close, handle.read_all, handle.status_get, iterator.next, handle.synchronize):
            with pytest.raises(errors.BadHandle):
                await call()
        left = await service.checkpoint_open("c", creation_attributes=SMALL)
    with pytest.raises(errors.BadHandle):
        await left.read_all()
    with pytest.raises(errors.BadHandle):
        await service.checkpoint_unlink("c")
    with pytest.raises(errors.BadHandle):
        await service.finalize()


async def test_finalize_closes_what_is_open(cluster: Loopback) -> None:
    async with connect(cluster.nodes[1].address) as session:
        async with session.ckpt() as service:
            await service.checkpoint_open("c", creation_attributes=SMALL)
            await service.checkpoint_open("c")
        async with session.ckpt() as service:
            with pytest.raises(errors.NotExist):
                await service.checkpoint_open("c")


class Name(str):
    pass


class Data(bytes):
    pass


class Number(int):
    pass


async def test_objects_of_subclasses_are_as_good_as_others(cluster: Loopback) -> None:
    attributes = CreationAttributes(max_sections=Number(4))
    async with on(cluster) as service, service.checkpoint_open(Name("c"), creation_attributes=attributes) as handle:
        assert await handle.section_create(Name("a"), Data(b"123")) == b"a"
        await handle.write([IoVector(Data(b"a"), Data(b"XY"), Number(1))], epoch=Number(3))
        assert await handle.read([IoVector("a", None, Number(0), Number(9))]) == [b"1XY"]
        assert {type(key) for key in await handle.read_all()} == {bytes}


async def test_a_close_that_is_cancelled_gives_back_all_the_same(cluster: Loopback) -> None:
    async with on(cluster) as service:
        handle = await service.checkpoint_open("c", creation_attributes=SMALL)
        pending = [service.checkpoint_open_async("nothing") for _ in range(256)]  # now coroutines wait for credit
        with anyio.move_on_after(0):
            await handle.close()
        with pytest.raises(errors.BadHandle):
            await handle.close()
        for each in pending:
            with pytest.raises(errors.NotExist):
                await each
        await eventually(lambda: not any(engine.snapshot().handles for engine in cluster.engines(CkptEngine)))


async def test_tracking_whose_beginning_is_cancelled_has_not_begun(cluster: Loopback) -> None:
    async with on(cluster, 1) as here, on(cluster, 2) as there:
        handle = await here.checkpoint_open("c", creation_attributes=SMALL)
        other = await there.checkpoint_open("c")
        for begin in (handle.track, here.track, lambda: anext(handle.changes(current=True))):
            with anyio.move_on_after(0):
                await begin()
        with pytest.raises(errors.NotExist):
            await handle.track_stop()
        async with handle.changes(current=True) as changes:
            assert (await anext(changes)).changes == ()
            await other.section_create("s", b"data")
            assert (await anext(changes)).changes == (ckpt.SectionChange(b"s", CREATED, 0, b"data"),)


async def test_several_tasks_share_the_changes_from_their_beginning(cluster: Loopback) -> None:
    async with on(cluster, 1) as here, on(cluster, 2) as there:
        handle = await here.checkpoint_open("c", creation_attributes=SMALL)
        other = await there.checkpoint_open("c")
        await other.section_create("s")
        changes, seen = handle.changes(current=True), []

        async def follow() -> None:
            async for change in changes:
                seen.append(change.sequence)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(follow)
            await eventually(lambda: len(seen) == 1)
            for number in range(20):
                await other.section_overwrite("s", b"%d" % number)
            await eventually(lambda: len(seen) == 21)
            tasks.cancel_scope.cancel()
        assert sorted(seen) == list(range(seen[0], seen[0] + 21))


async def test_changes_can_be_followed_anew_right_after_a_loop_was_cancelled(cluster: Loopback) -> None:
    async with on(cluster) as service, service.checkpoint_open("c", creation_attributes=SMALL) as handle:
        for _ in range(2):
            with anyio.move_on_after(0.05) as waiting:
                async for change in handle.changes(current=True):
                    assert change.changes == ()
            assert waiting.cancelled_caught


async def test_finalize_does_not_wait_for_events_that_nobody_has_read(cluster: Loopback) -> None:
    async with on(cluster, 1) as here, on(cluster, 2) as there:
        handle = await here.checkpoint_open("c", creation_attributes=SMALL)
        other = await there.checkpoint_open("c")
        await other.section_create("s")
        await handle.track()
        for number in range(1100):
            await other.section_overwrite("s", b"%d" % number)
        with anyio.move_on_after(0.05) as waiting:
            await handle.read_all()
        assert waiting.cancelled_caught  # 1024 events wait
        with anyio.fail_after(1):
            await here.finalize()
        await eventually(lambda: all(len(each.snapshot().handles) == 1 for each in cluster.engines(CkptEngine)))


async def test_the_death_of_a_client_closes_its_handles(cluster: Loopback) -> None:
    async with on(cluster, 2) as service:
        dying = await on(cluster, 1)
        await dying.checkpoint_open("c", creation_attributes=SMALL)
        await dying.session.close()
        await eventually(lambda: not any(engine.snapshot().handles for engine in cluster.engines(CkptEngine)))
        with pytest.raises(errors.NotExist):
            await service.checkpoint_open("c")


async def test_iteration_sees_what_there_was_and_skips_what_is_deleted(cluster: Loopback) -> None:
    many = CreationAttributes(max_sections=2000, max_section_size=10)
    async with on(cluster) as service, service.checkpoint_open("c", creation_attributes=many) as handle:
        await handle.write_batch({f"{number:04}": b"x" for number in range(1000)})
        iterator = await handle.section_iteration_initialize()
        await handle.section_create("later")
        await handle.section_delete("0001")
        first = await iterator.next()
        assert (first.section_id, first.section_size, first.section_state) == (b"0000", 1, ckpt.SectionState.VALID)
        seen = []
        async for descriptor in iterator:
            seen.append(descriptor.section_id)
            if len(seen) == 3:
                await handle.write_batch({"0007": None})
        assert seen == [b"%04d" % number for number in range(1000) if number not in (0, 1, 7)]
        with pytest.raises(errors.NoSections):
            await iterator.next()
        async with await handle.section_iteration_initialize(SectionsChosen.CORRUPTED) as corrupted:
            with pytest.raises(errors.NoSections):
                await corrupted.next()


async def test_several_tasks_share_one_iteration(cluster: Loopback) -> None:
    async with on(cluster) as service, service.checkpoint_open("c", creation_attributes=CreationAttributes()) as handle:
        keys = [b"%03d" % number for number in range(300)]
        await handle.write_batch(dict.fromkeys(keys, b""))
        for is_iterated in (True, False):
            iterator = await handle.section_iteration_initialize()
            seen: list[bytes] = []

            async def pull(seen: list[bytes], take: Any) -> None:
                try:
                    while True:
                        seen.append((await take()).section_id)
                except (errors.NoSections, StopAsyncIteration):
                    pass

            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(pull, seen, iterator.__anext__ if is_iterated else iterator.next)
            assert sorted(seen) == keys


async def test_iteration_skips_what_the_session_deleted_through_another_handle(cluster: Loopback) -> None:
    async with on(cluster) as service, service.checkpoint_open("c", creation_attributes=SMALL) as handle:
        other = await service.checkpoint_open("c")
        await handle.write_batch(dict.fromkeys("abcd", b""))
        iterator = await handle.section_iteration_initialize()
        assert (await anext(iterator)).section_id == b"a"
        await other.section_delete("b")
        assert (await anext(iterator)).section_id == b"c"
        await other.write_batch({"d": None})
        assert [each async for each in iterator] == []


async def test_sections_and_retention_end_by_the_clock(cluster: Loopback) -> None:
    async with on(cluster) as service:
        handle = await service.checkpoint_open("c", creation_attributes=SMALL)
        await handle.section_create("s")
        now = (await (await handle.section_iteration_initialize()).next()).last_update
        await handle.section_create("t", expiration_time=now + 60)
        await handle.section_expiration_time_set("s", now + 0.2)
        await eventually(lambda: cluster.engines(CkptEngine)[0].snapshot().checkpoints[0].sequence == 3)
        assert await handle.read_all() == {b"t": b""}
        await handle.retention_duration_set(0.02)
        assert handle.creation_attributes.retention_duration == 0.02
        await handle.close()
        await eventually(lambda: not any(engine.snapshot().checkpoints for engine in cluster.engines(CkptEngine)))
        with pytest.raises(errors.NotExist):
            await service.checkpoint_open("c")


async def test_changes_start_with_the_present_content_and_go_on_from_there(cluster: Loopback) -> None:
    async with on(cluster, 1) as here, on(cluster, 2) as there:
        calls = await here.checkpoint_open("c", creation_attributes=CreationAttributes())
        await calls.write_batch({"1": b"one"}, epoch=5)
        copy: dict[bytes, bytes] = {}
        standby = await there.checkpoint_open("c", OpenFlags.READ)
        sequences = []
        stop = anyio.Event()

        async def follow() -> None:
            async for change in standby.changes(current=True):
                sequences.append(change.sequence)
                assert change.checkpoint is standby
                for each in change.changes:
                    if each.operation is DELETED:
                        del copy[each.section_id]
                    elif each.operation is WRITTEN:
                        old = copy[each.section_id]
                        copy[each.section_id] = old[: each.offset] + each.data + old[each.offset + len(each.data) :]
                    else:
                        copy[each.section_id] = each.data or b""
                if b"stop" in copy:
                    stop.set()
                    break

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            for number in range(200):
                key = f"{number % 7}"
                await calls.write_batch({key: b"%d" % number})
                await calls.write([IoVector(key, b"*", 1)])
                if number % 5 == 0:
                    await calls.section_delete(key)
            await calls.section_create("stop")
            await stop.wait()
        assert copy == await calls.read_all()
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
        await standby.track()  # the iteration has stopped its own tracking


async def test_changes_end_when_the_checkpoint_is_closed(cluster: Loopback) -> None:
    async with on(cluster) as service:
        handle = await service.checkpoint_open("c", creation_attributes=SMALL)
        items = []

        async def follow(how: str) -> None:
            async for change in handle.changes(current=True):
                items.append(change.changes)
                if how == "close":
                    await handle.close()
                else:
                    await handle.track_stop()

        await follow("stop")
        await follow("close")
        assert items == [(), ()]


async def test_a_second_iteration_over_changes_is_refused_and_leaves_the_first_alone(cluster: Loopback) -> None:
    async with on(cluster, 1) as here, on(cluster, 2) as there:
        mine = await here.checkpoint_open("c", creation_attributes=SMALL)
        other = await there.checkpoint_open("c")
        async with mine.changes(current=True) as first:
            assert (await anext(first)).changes == ()
            with pytest.raises(errors.Exist):
                await anext(mine.changes())
            await other.section_create("s", b"data")
            assert (await anext(first)).changes == (ckpt.SectionChange(b"s", CREATED, 0, b"data"),)
        async with mine.changes() as again:
            with anyio.move_on_after(0.05):
                await anext(again)
            await other.section_overwrite("s", b"more")
            assert (await anext(again)).changes[0].data == b"more"


async def test_tracked_changes_are_events_and_own_ones_are_left_out(cluster: Loopback) -> None:
    async with on(cluster, 1) as here, on(cluster, 2) as there:
        calls = await here.checkpoint_open("c", creation_attributes=SMALL)
        other = await there.checkpoint_open("c")
        await calls.track()
        with pytest.raises(errors.Exist):
            await calls.track()
        with pytest.raises(errors.Exist):
            async for _ in calls.changes():
                pass
        await calls.section_create("mine")
        await other.section_create("yours", b"data")
        async for event in here:
            assert event.checkpoint is calls
            assert event.changes == (ckpt.SectionChange(b"yours", CREATED, 0, b"data"),)
            break
        await calls.track_stop()
        await calls.track(data=False)
        await other.section_overwrite("yours", b"more")
        async for event in here:
            assert event.changes[0].data is None
            break


async def test_a_service_tracks_all_it_has_open_for_writing_now_and_later(cluster: Loopback) -> None:
    async with on(cluster, 1) as here, on(cluster, 2) as there:
        first = await here.checkpoint_open("1", creation_attributes=SMALL)
        await here.checkpoint_open("1", OpenFlags.READ)
        await here.track()
        with pytest.raises(errors.Exist):
            await here.track()
        second = await here.checkpoint_open("2", creation_attributes=SMALL)
        for name in ("1", "2"):
            await (await there.checkpoint_open(name)).section_create("s")
        seen = []
        async for event in here:
            seen.append(event.checkpoint)
            if len(seen) == 2:
                break
        assert seen == [first, second]
        await here.track_stop()
        with pytest.raises(errors.NotExist):
            await here.track_stop()
        with pytest.raises(errors.NotExist):
            await first.track_stop()


async def test_what_is_being_opened_when_tracking_begins_is_tracked_too(cluster: Loopback) -> None:
    async with on(cluster, 1) as here, on(cluster, 2) as there:
        other = await there.checkpoint_open("c", creation_attributes=SMALL)
        opening = here.checkpoint_open_async("c")
        await here.track()
        with pytest.raises(errors.NotExist):
            await here.checkpoint_open_async("nothing")
        mine = await opening
        await mine.write_batch({"own": b""})  # comes after the tracking in the order
        await other.section_create("s")
        async for event in here:
            if isinstance(event, ckpt.SectionsChanged):
                assert event.checkpoint is mine
                break


async def test_long_reads_of_one_handle_do_not_disturb_one_another(cluster: Loopback) -> None:
    big = CreationAttributes(max_sections=4, max_section_size=3_000_000)
    async with on(cluster) as service, service.checkpoint_open("c", creation_attributes=big) as handle:
        whole = {b"%d" % number: bytes([number]) * 3_000_000 for number in range(4)}
        for key, data in whole.items():
            await handle.section_create(key, data)
        results = []

        async def read() -> None:
            results.append(await handle.read_all())

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(read)
        assert results == [whole, whole, whole]


async def test_a_deposed_writer_is_told_the_present_epoch(cluster: Loopback) -> None:
    async with on(cluster, 1) as here, on(cluster, 2) as there:
        old = await here.checkpoint_open("c", creation_attributes=SMALL)
        new = await there.checkpoint_open("c")
        await old.write_batch({"s": b"old"}, epoch=1)
        await new.fence(2)
        with pytest.raises(errors.AccessDenied) as caught:
            await old.write_batch({"s": b"late"}, epoch=1)
        assert caught.value.epoch == 2
        with pytest.raises(errors.AccessDenied):
            await new.fence(1)


async def test_synchronize_and_active_replicas(cluster: Loopback) -> None:
    async with on(cluster, 1) as here, on(cluster, 2) as there:
        weak = await here.checkpoint_open("weak", creation_attributes=WEAK)
        await weak.section_create("s")
        await weak.synchronize()
        pending = weak.synchronize_async(invocation=5)
        await pending
        async for event in here:
            assert (event.invocation, event.error) == (5, None)
            break
        mine = await here.checkpoint_open("c", creation_attributes=COLLOCATED)
        with pytest.raises(errors.NotExist):
            await mine.section_create("s")
        yours = await there.checkpoint_open("c")
        await yours.active_replica_set()
        assert await mine.section_create("s") == b"s"  # confirmed by node 2
        nodes = tuple(sorted(cluster.nodes))[:2]
        assert (await mine.status_get()).active_replica == nodes[-1]
        assert (await mine.status_get()).replicas == nodes


async def test_many_writes_in_flight_keep_their_order(cluster: Loopback) -> None:
    async with on(cluster) as service, service.checkpoint_open("c", creation_attributes=SMALL) as handle:
        await handle.section_create("s", b"")
        order = []

        async def write(number: int) -> None:
            order.append(b"%d" % number)
            await handle.section_overwrite("s", b"%d" % number)

        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(write, number)
        assert await handle.read([IoVector("s")]) == [order[-1]]


async def test_what_was_opened_too_late_is_closed_again(cluster: Loopback) -> None:
    async with on(cluster) as service:
        with anyio.move_on_after(0):
            await service.checkpoint_open("c", creation_attributes=SMALL)
        keeper = await service.checkpoint_open("k", creation_attributes=SMALL)  # comes after all that
        await keeper.section_create("s")
        with pytest.raises(errors.NotExist):
            await service.checkpoint_open("c")


async def test_wrong_versions_and_event_kinds_are_refused(cluster: Loopback) -> None:
    for arguments, error in (
        ({"version": "C.01.01"}, errors.Version),
        ({"version": "B.2"}, errors.InvalidParam),
        ({"events": 3}, errors.InvalidParam),
    ):
        with pytest.raises(error):
            await on(cluster, **arguments)
    with pytest.raises(errors.Library):
        await ckpt.initialize(address="/nonexistent/aisexec.sock")


async def test_without_quorum_reads_go_on_and_changes_do_not() -> None:
    async with (
        loopback(lambda: [ClmEngine(), CkptEngine()], 3, quorum=True) as cluster,
        on(cluster, 3, retry=False) as service,
    ):
        handle = await service.checkpoint_open("c", creation_attributes=SMALL)
        await handle.section_create("s", b"data")
        cluster.network.partition([1, 2], [3])
        await eventually(lambda: cluster.nodes[3].sees(1))
        assert await handle.read([IoVector("s")]) == [b"data"]
        with pytest.raises(errors.TryAgain, match="no quorum"):
            await handle.section_overwrite("s", b"lost")


async def test_after_a_partition_the_quorate_sides_content_stands_and_handles_of_the_others_go_on_with_it() -> None:
    async with (
        loopback(lambda: [ClmEngine(), CkptEngine()], 3, quorum=True) as cluster,
        on(cluster, 1) as service,
        service.checkpoint_open("c", creation_attributes=SMALL) as handle,
    ):
        await handle.section_create("s", b"before")
        cut_off = await on(cluster, 3)
        copy = await cut_off.checkpoint_open("c")
        await copy.track()
        cluster.network.partition([1, 2], [3])
        await eventually(lambda: cluster.nodes[3].sees(1) and cluster.nodes[1].sees(2))
        await handle.section_overwrite("s", b"after")
        assert await copy.read_all() == {b"s": b"before"}
        cluster.network.heal()
        await eventually(lambda: all(node.sees(3) for node in cluster.nodes.values()))
        await eventually(lambda: cluster.states()[0] == cluster.states()[2])
        difference = await anext(cut_off.events())
        assert [(change.section_id, change.data) for change in difference.changes] == [(b"s", b"after")]
        assert await copy.read_all() == {b"s": b"after"}
        await copy.section_delete("s")
        assert await handle.read_all() == {}
        await cut_off.finalize()


async def test_an_iteration_ends_when_the_active_replica_is_gone() -> None:
    async with (
        loopback(lambda: [ClmEngine(), CkptEngine()], 3) as cluster,
        on(cluster, 1) as service,
        on(cluster, 3) as there,
    ):
        handle = await service.checkpoint_open("c", creation_attributes=COLLOCATED)
        await (await there.checkpoint_open("c")).active_replica_set()
        await handle.section_create("s")
        iterator = await handle.section_iteration_initialize()
        cluster.die(3)
        await eventually(lambda: cluster.nodes[1].sees(2))
        with pytest.raises(errors.NotExist):
            await iterator.next()
