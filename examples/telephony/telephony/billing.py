"""What a call costs: its record, and when it really ended."""

from telephony.duties import T1, T2
from telephony.model import Call, Cdr

# When a request other than INVITE is repeated, in seconds after it was first sent (RFC 3261 section 17.1.2.2).
REPEATED_AFTER = (T1, 3 * T1, 7 * T1, *(7 * T1 + n * T2 for n in range(1, 7)))
SILENCE = 0.06  # a talker that says nothing for so long has stopped: three packets of 20 ms
LATE = 0.25  # a busy endpoint and the way may delay a repetition by so much


def record(call: Call) -> Cdr:
    duration = max(0.0, call.ended_at - call.answered_at) if call.answered_at else 0.0
    return Cdr(
        id=call.id,
        caller=call.caller,
        callee=call.callee,
        created_at=call.created_at,
        answered_at=call.answered_at,
        ended_at=call.ended_at,
        duration=round(duration, 3),
        outcome=call.outcome,
    )


def last_stamp(calls: list[Call]) -> float:
    """The latest time in these records: until then somebody was certainly serving."""
    stamps = [0.0]
    for call in calls:
        stamps += [call.created_at, call.answered_at, call.ended_at, call.closed_at]
        stamps += [max(e.since, e.final_at) for e in call.exchanges]
    return max(stamps)


def heard_at(
    answered: float, acknowledged: float, outage: tuple[float, float] | None, claimed: float | None = None
) -> float:
    """When the caller learnt that his call was answered, and his time began to count.

    That is when it was, unless there was a takeover before he acknowledged: then the word may have reached him before
    or after. What he says himself counts, as far as it lies between; if he says nothing, the middle.
    """
    if outage is None or answered > outage[1]:
        return answered
    if claimed is not None:
        return min(max(claimed, answered), acknowledged)
    return (answered + acknowledged) / 2


def hung_up_at(
    arrived: float, outage: tuple[float, float] | None, last_audio: float | None, claimed: float | None = None
) -> float:
    """When a BYE that arrived now was first sent.

    While nobody served, the first sendings of a BYE were lost, and what arrives afterwards is a repetition, up to
    seconds later. Nobody shall pay for them. A repetition betrays when it was first sent: that was one of few fixed
    spans earlier, it fell into the outage, and the one who hung up has not been heard since. If that leaves several
    moments, the one next to the sender's own word counts, or without it the middle between the first and the last.

    `outage` is from when to when nobody served, None if there was no takeover; `last_audio` when the one who hung up
    was last heard by this instance, None if he sends no audio, so that his silence means nothing; `claimed` when the
    sender says it sent the BYE first. With neither there is nothing to go by, and what arrives is taken as it comes.
    """
    if outage is None or (last_audio is None and claimed is None):
        return arrived
    start, end = outage
    if last_audio is not None and last_audio >= end:
        return arrived
    moments = [arrived] if last_audio is None or arrived - end < SILENCE else []
    before = 0.0
    for span in REPEATED_AFTER:
        # The repetition before this one was lost as well, otherwise it would have been seen.
        if start <= arrived - span and arrived - span + before <= end + LATE:
            moments.append(min(arrived - span, end))
        before = span
    if not moments:
        return arrived
    if claimed is not None:
        return min(moments, key=lambda moment: abs(moment - claimed))
    return (min(moments) + max(moments)) / 2
