"""Checks of arguments that all services share. Each returns the checked value in its proper type.

What comes back is of the plain type, also where an object of a subclass was given: only that can be sent.
A wrong type is InvalidParam, never TypeError; unknown bits are BadFlags; over a limit is TooBig.
"""

from enum import IntEnum, IntFlag
from typing import TypeVar

from corosync_amf.ais import NAME_BYTES_MAX
from corosync_amf.errors import BadFlags, InvalidParam, TooBig

E = TypeVar("E", bound=IntEnum)
F = TypeVar("F", bound=IntFlag)


def check_text(text: object, what: str = "name") -> str:
    """Text that may be a name but for its length: `check_name` in two steps, for who has more to check before that.

    Raises: InvalidParam: no text, empty, or with NUL.
    """
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidParam(f"{what} must be text, not empty and without NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidParam(f"{what} cannot be written in UTF-8") from None
    return str.__str__(text)


def check_name(name: object, what: str = "name") -> str:
    """A name: text of 1 to 2048 bytes in UTF-8, without NUL.

    Raises: InvalidParam: no text, empty, or with NUL; TooBig: longer.
    """
    text = check_text(name, what)
    size = len(text.encode())
    if size > NAME_BYTES_MAX:
        raise TooBig(f"{what} has {size} bytes; {NAME_BYTES_MAX} is the limit")
    return text


def check_flags(value: object, kind: type[F], what: str = "flags") -> F:
    """Flags of `kind`; a plain int is taken too.

    Raises: InvalidParam: no int; BadFlags: unknown bits.
    """
    number = check_int(value, what, minimum=None)
    known = 0
    for member in kind:
        known |= int(member)
    if number & ~known:
        raise BadFlags(f"{what} has unknown bits: {number & ~known:#x}")
    return kind(number)


def check_enum(value: object, kind: type[E], what: str = "value") -> E:
    """An enumerator of `kind`; a plain int is taken too.

    Raises: InvalidParam: no int, or no enumerator has this value.
    """
    try:
        return kind(check_int(value, what, minimum=None))
    except ValueError:
        raise InvalidParam(f"{what} must be a {kind.__qualname__}, not {value!r}") from None


def check_bytes(value: object, limit: int | None = None, what: str = "data") -> bytes:
    """The bytes of any buffer, `limit` bytes at most.

    Raises: InvalidParam: no buffer; TooBig: longer than `limit`.
    """
    if type(value) is not bytes:
        try:
            value = bytes(memoryview(value))  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise InvalidParam(f"{what} must be bytes, not {type(value).__qualname__}") from None
    if limit is not None and len(value) > limit:
        raise TooBig(f"{what} has {len(value)} bytes; {limit} is the limit")
    return value


def check_int(value: object, what: str = "value", *, minimum: int | None = 0, maximum: int | None = None) -> int:
    """An int from `minimum` to `maximum`.

    Raises: InvalidParam: no int (a bool is none), or out of range.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidParam(f"{what} must be an int, not {value!r}")
    if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
        raise InvalidParam(f"{what} must be {minimum} to {maximum}, not {value}")
    return value if type(value) is int else int.__int__(value)


def check_bool(value: object, what: str) -> bool:
    """True or False. Raises: InvalidParam: anything else."""
    if not isinstance(value, bool):
        raise InvalidParam(f"{what} must be True or False, not {value!r}")
    return value


def check_timeout(timeout: float | None) -> None:
    """Raises: InvalidParam: `timeout` is neither None nor a number of seconds, 0 or more."""
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout >= 0:
        raise InvalidParam(f"timeout must be None or a number of seconds, 0 or more, not {timeout!r}")
    try:
        float(timeout)
    except OverflowError:
        raise InvalidParam("timeout is an int that no float can hold; None waits for ever") from None
