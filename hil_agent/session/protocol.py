"""What clients and a session say to each other: lines of JSON (docs/control-protocol.md).

::

    session:  {"hil_agent": "0.1.0", "protocol": 1, "session": "NAME"}
    client:   {"id": 1, "method": "resume", "params": {}}
    session:  {"id": 1, "item": ...}            none, one or many, for methods that stream
    session:  {"id": 1, "result": ...}          or
    session:  {"id": 1, "error": {"kind": "StateError", "message": "...", "hint": null}}

Pure: no I/O.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

import hil_agent.errors
from hil_agent.errors import HilAgentError, InternalError, ProtocolError

PROTOCOL = 1

LONGEST_LINE = 256 * 1024 * 1024
"""Bytes of one message: a file that is pushed is one."""

Json: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for."""

    id: int
    method: str
    params: dict[str, Json]


def encode(message: dict[str, Json]) -> bytes:
    """A message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Json]:
    """The message of a line.

    Raises:
        ProtocolError: it is none.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"no JSON on the control socket: {error}") from error
    if not isinstance(message, dict):
        raise ProtocolError("a message on the control socket must be a JSON object")
    return message


def decode_request(line: bytes) -> Request:
    """The request of a line.

    Raises:
        ProtocolError: it is none.
    """
    message = decode(line)
    match message:
        case {"id": int(number), "method": str(method), **rest}:
            params = rest.get("params", {})
            if isinstance(params, dict):
                return Request(number, method, params)
    raise ProtocolError('a request must look like {"id": 1, "method": "status", "params": {}}')


def encode_error(error: HilAgentError) -> Json:
    """An error as it goes over the socket: as what the tree in ``hil_agent.errors`` calls it."""
    kind = next(cls for cls in type(error).__mro__ if cls.__module__ == hil_agent.errors.__name__)
    return {"kind": kind.__name__, "message": error.message, "hint": error.hint}


def decode_error(document: Json) -> HilAgentError:
    """The error that a session has sent, as the class that it was raised as where that is one of ours."""
    kind = getattr(hil_agent.errors, str(document.get("kind")), None)
    message, hint = str(document.get("message")), document.get("hint")
    if not (isinstance(kind, type) and issubclass(kind, HilAgentError)):
        kind = InternalError
    error = kind.__new__(kind)
    HilAgentError.__init__(error, message, hint=hint)
    return error
