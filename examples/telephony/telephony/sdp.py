"""The few lines of a session description (RFC 4566) that a back-to-back user agent must change."""

from telephony.sip import Endpoint

HELD = ("a=sendonly", "a=recvonly", "a=inactive")
LEAKING = ("a=rtcp:", "a=candidate:", "a=ice-")  # they carry addresses of the other leg


def media(body: bytes) -> Endpoint | None:
    """Where the writer of this description wants its audio sent, or None if it wants none."""
    address, port, seen = "", 0, False
    for line in _lines(body):
        if line.startswith("c=IN IP4 "):
            address = line[9:].split("/")[0].strip()
        elif line.startswith("m="):
            if seen:
                break
            port, seen = _port(line), True
    return (address, port) if address not in ("", "0.0.0.0") and 0 < port < 65536 else None


def held(body: bytes) -> bool:
    """Whether this description puts the other side on hold."""
    return any(line in HELD or line == "c=IN IP4 0.0.0.0" for line in _lines(body))


def rewrite(body: bytes, host: str, port: int, session: int) -> bytes:
    """The same description, but with our address, port and session number in it.

    Only the first medium is relayed, so the others are refused by giving them port 0 (RFC 3264 section 6).
    """
    lines: list[str] = []
    first = True
    for line in _lines(body):
        if line.startswith("o="):
            version = [*line[2:].split(" "), "", "", "1"][2]
            line = f"o=- {session} {version} IN IP4 {host}"
        elif line.startswith("c=IN IP4 ") and line != "c=IN IP4 0.0.0.0":
            line = f"c=IN IP4 {host}"
        elif line.startswith("m="):
            line = _with_port(line, port if first and _port(line) else 0)
            first = False
        if not line.startswith(LEAKING):
            lines.append(line)
    return "".join(line + "\r\n" for line in lines).encode()


def _lines(body: bytes) -> list[str]:
    return [line for line in body.decode("utf8", "replace").replace("\r\n", "\n").split("\n") if line]


def _port(line: str) -> int:
    text = [*line.split(" "), ""][1].split("/")[0]
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0


def _with_port(line: str, port: int) -> str:
    parts = line.split(" ")
    if len(parts) > 1:
        parts[1] = str(port)
    return " ".join(parts)
