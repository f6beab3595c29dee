import msgspec
from hypothesis import given
from hypothesis import strategies as st

from corosync_amf.bundles import BUNDLE_BYTES_MAX, BUNDLE_COUNT, Bundles
from corosync_amf.wire import Ask, FromClient, Requests, decode, encode

requests = st.tuples(st.integers(1, 3), st.integers(0, 20_000) | st.just(60_000))
actions = st.lists(
    st.tuples(st.just("put"), requests) | st.tuples(st.just("ask"), requests) | st.just(("empty", (0, 0)))
)


@given(actions)
def test_all_requests_leave_in_order_numbered_without_gaps_in_bounded_bundles(actions) -> None:
    bundles = Bundles()
    put: list[tuple[int, int, bytes]] = []
    asked: dict[int, bytes] = {}
    frames = []
    for action, (service, size) in actions:
        data = encode(bytes(size))
        if action == "put":
            put.append((bundles.put(service, msgspec.Raw(data)), service, data))
        elif action == "ask":
            asked[bundles.ask(service, msgspec.Raw(data))] = data
        else:
            frames += bundles.empty()
    frames += bundles.empty()
    assert bundles.empty() == []
    sent = []
    for frame in frames:
        match decode(frame, FromClient):
            case Ask(_, number, query):
                assert asked.pop(number) == query
            case Requests(service, first, count, bundle):
                items = [bytes(item) for item in decode(bundle, list[msgspec.Raw])]
                assert len(items) == count <= BUNDLE_COUNT
                assert count == 1 or sum(map(len, items)) <= BUNDLE_BYTES_MAX
                sent += [(number, service, item) for number, item in enumerate(items, first)]
            case other:
                raise AssertionError(other)
    assert sent == put
    assert [number for number, _, _ in sent] == list(range(1, len(sent) + 1))
    assert asked == {}
