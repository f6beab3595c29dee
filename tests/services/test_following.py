"""An iteration that sets something going ends it in whatever way it is left."""

import pytest

from corosync_amf.errors import BadHandle, Library
from corosync_amf.following import Following

pytestmark = pytest.mark.anyio


class Source:
    """Gives 1, then 2 and 3, then `end`; writes down what happens to it."""

    def __init__(self, end: Exception | None = None) -> None:
        self.happened: list[str] = []
        self.further: list[list[int]] = [[], [2, 3]]
        self.end = end

    async def start(self) -> list[int]:
        self.happened.append("start")
        return [1]

    async def more(self) -> list[int] | None:
        if self.further:
            return self.further.pop(0)
        if self.end is not None:
            raise self.end
        return None

    def stop(self) -> None:
        self.happened.append("stop")
        raise Library("the executive is gone")

    def following(self) -> Following[int]:
        return Following(self.start, self.more, self.stop)


async def test_it_ends_with_its_source_and_stays_so() -> None:
    source = Source()
    following = source.following()
    assert [item async for item in following] == [1, 2, 3]
    assert [item async for item in following] == []
    assert source.happened == ["start", "stop"]


async def test_leaving_the_loop_ends_it() -> None:
    source = Source()
    async for item in source.following():
        assert item == 1
        break
    assert source.happened == ["start", "stop"]


async def test_closing_or_leaving_the_block_ends_it() -> None:
    source = Source()
    following = source.following()
    assert await anext(following) == 1
    await following.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(following)
    async with source.following() as again:
        assert await anext(again) == 1
    assert source.happened == ["start", "stop", "start", "stop"]


async def test_what_never_began_is_not_stopped() -> None:
    source = Source()
    async with source.following():
        pass
    assert source.happened == []


async def test_a_start_that_fails_is_stopped() -> None:
    source = Source()

    async def fail() -> list[int]:
        raise BadHandle("closed")

    following = Following(fail, source.more, source.stop)
    with pytest.raises(BadHandle):
        await anext(following)
    assert source.happened == ["stop"]


async def test_an_error_of_the_source_passes_and_the_iteration_may_go_on() -> None:
    source = Source(Library("gone"))
    following = source.following()
    assert [await anext(following) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(Library):
        await anext(following)
    source.end = None
    with pytest.raises(StopAsyncIteration):
        await anext(following)
