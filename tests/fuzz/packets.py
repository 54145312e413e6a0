"""What a debugger may send, up to where the machine is asked: from bytes to packets to what is in them.

For a long run: ``python -m tests.fuzz.packets -max_total_time=600``.
"""

from __future__ import annotations

import contextlib
import sys

import atheris

with atheris.instrument_imports():
    from hil_agent.errors import ProtocolError
    from hil_agent.rsp.packet import Decoder, Packet, encode
    from hil_agent.rsp.stop import StopReply
    from hil_agent.stub.requests import memory_range, number, octets, parse_plan, thread_of

_CPUS = 4


def one_input(data: bytes) -> None:
    """Raises if something is raised that nobody expects, or a packet does not survive its own encoding."""
    payloads = [data]
    with contextlib.suppress(ProtocolError):
        payloads += [event.payload for event in Decoder().feed(data) if isinstance(event, Packet)]
    for payload in payloads:
        for read in (
            number,
            octets,
            memory_range,
            StopReply.parse,
            lambda text: thread_of(text, _CPUS),
            lambda text: parse_plan(text, _CPUS, 0),
        ):
            with contextlib.suppress(ProtocolError):
                read(payload)
    with contextlib.suppress(ProtocolError):
        again = Decoder().feed(encode(data))
        if b"*" not in data and again != [Packet(data)]:
            raise AssertionError(f"{data!r} became {again!r}")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
