"""What a stub answers to a request: done, data, an error, or nothing, which means "unsupported". Pure."""

from __future__ import annotations

import re
from binascii import unhexlify
from typing import Final

from hil_agent.errors import ProtocolError, TargetError

_ERROR: Final = re.compile(rb"E(?:([0-9a-fA-F]{2})|\.(.*))", re.DOTALL)
_EXCERPT: Final = 80


class RefusedError(ProtocolError):
    """The stub answered a request with an error (``Exx`` or ``E.text``)."""


class UnsupportedError(ProtocolError):
    """The stub does not know a request (it answered with an empty packet)."""


class UnavailableError(TargetError):
    """The stub knows a register, but not its value (it answered ``xx``)."""


def excerpt(payload: bytes) -> str:
    """The start of a payload, printable whatever it holds."""
    return ascii(payload[:_EXCERPT])[2:-1] + ("…" if len(payload) > _EXCERPT else "")


def check_done(reply: bytes, what: str) -> None:
    """Raises unless `reply` is ``OK``; `what` names the request, as in "writing register x0"."""
    if reply != b"OK":
        check_answered(reply, what)
        raise unexpected(reply, what)


def check_answered(reply: bytes, what: str) -> bytes:
    """Passes on a reply that carries something.

    Raises:
        RefusedError: it is an error.
        UnsupportedError: it is empty.
    """
    if not reply:
        raise UnsupportedError(f"the stub does not support {what}")
    if reply[:1] == b"E" and (error := _ERROR.fullmatch(reply)):
        reason = f"error 0x{error[1].decode()}" if error[1] else excerpt(error[2])
        raise RefusedError(f"the stub refused {what}: {reason}")
    return reply


def decode_hex(reply: bytes, what: str) -> bytes:
    """The bytes that a reply spells out in hexadecimal.

    Raises:
        ProtocolError: it does not (or one of those of `check_answered`).
    """
    try:
        return unhexlify(check_answered(reply, what))
    except ValueError:
        raise unexpected(reply, what) from None


def unexpected(reply: bytes, what: str) -> ProtocolError:
    """The error for a reply that makes no sense as an answer to `what`."""
    return ProtocolError(f"the stub answered {what} with {excerpt(reply)!r}")
