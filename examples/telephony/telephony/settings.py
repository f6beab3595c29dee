"""The attributes of the component service instance, read and checked."""

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from telephony.ids import Ids
from telephony.model import Service
from telephony.sip import Endpoint

Attributes = Mapping[str, str | Sequence[str]]

ADDRESS = "127.0.1.100:5060"
ROUTE = "127.0.0.1:5070"
RTP = "20000-29999"
SECRET = "change me"
TALK_MAX = "14400"


class Settings(msgspec.Struct, frozen=True):
    service: Service
    cdr: Path | None
    checkpoint: bool


def read(attributes: Attributes) -> Settings:
    """Raises `ValueError` that names the attribute and says what it must be."""
    known = {"address", "route", "rtp", "secret", "cdr", "checkpoint", "talk_max"}
    if unknown := sorted(set(attributes) - known):
        raise ValueError(f"unknown attribute {unknown[0]!r}; there are {', '.join(sorted(known))}")
    first, last = _range(_text(attributes, "rtp", RTP))
    secret = _text(attributes, "secret", SECRET).encode()
    cdr = _text(attributes, "cdr", "")
    checkpoint = _text(attributes, "checkpoint", "yes")
    if checkpoint not in ("yes", "no"):
        raise ValueError(f"attribute 'checkpoint' must be yes or no, not {checkpoint!r}")
    talk_max = _text(attributes, "talk_max", TALK_MAX)
    if not talk_max.isdecimal() or not 1 <= int(talk_max) <= 7 * 86400:
        raise ValueError(f"attribute 'talk_max' must be seconds from 1 to {7 * 86400}, not {talk_max!r}")
    service = Service(
        ids=Ids(secret),
        address=_endpoint("address", _text(attributes, "address", ADDRESS)),
        route=_endpoint("route", _text(attributes, "route", ROUTE)),
        first_port=first,
        last_port=last,
        talk_max=float(talk_max),
    )
    return Settings(service, Path(cdr) if cdr else None, checkpoint == "yes")


def _text(attributes: Attributes, name: str, default: str) -> str:
    value = attributes.get(name, default)
    if not isinstance(value, str):
        if len(value) != 1:
            raise ValueError(f"attribute {name!r} must have one value, not {len(value)}")
        value = value[0]
    return value


def _endpoint(name: str, text: str) -> Endpoint:
    host, colon, port = text.rpartition(":")
    try:
        if not colon or not 0 < int(port) < 65536:
            raise ValueError
        return str(ipaddress.IPv4Address(host)), int(port)
    except ValueError:
        raise ValueError(
            f"attribute {name!r} must be an IPv4 address and a port like {ADDRESS}, not {text!r}"
        ) from None


def _range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal() and 1024 <= int(first) < int(last) < 65536):
        raise ValueError(f"attribute 'rtp' must be a range of ports like {RTP}, not {text!r}")
    if int(first) % 2:
        raise ValueError(f"attribute 'rtp' must begin with an even port, not {first}")
    return int(first), int(last)
