"""What a stub can do, as far as the client makes use of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hil_agent.rsp.reply import unexpected

# gdbserver describes x86 only to a client that names i386 among its architectures.
QUERY: Final = (
    b"qSupported:multiprocess+;swbreak+;hwbreak+;vContSupported+;error-message+;no-resumed+;xmlRegisters=i386"
)
"""The request that a connection begins with: what the client can do, and the question for the same."""

_DEFAULT_PACKET_SIZE: Final = 400  # what gdb assumes
_SMALLEST_PACKET_SIZE: Final = 64
_LARGEST_PACKET_SIZE: Final = 16 * 1024  # more gains nothing


@dataclass(frozen=True, slots=True)
class Features:
    """What a stub can do.

    Attributes:
        packet_size: the longest request to send, in bytes of payload.
        no_ack: packets need not be acknowledged (``QStartNoAckMode``).
        multiprocess: thread IDs carry a process ID.
        describes_registers: the stub has a target description.
        software_breakpoint_reason: stop replies tell software breakpoints.
        hardware_breakpoint_reason: stop replies tell hardware breakpoints.
        vcont: the actions that ``vCont`` knows (``c``, ``s``, ...); empty where there is no ``vCont``.
        single_registers: registers can be read and written one by one (``p`` and ``P``).
        binary_write: memory can be written in binary (``X``).
        physical_memory: memory can be accessed by physical address (QEMU's ``PhyMemMode``).
    """

    packet_size: int = _DEFAULT_PACKET_SIZE
    no_ack: bool = False
    multiprocess: bool = False
    describes_registers: bool = False
    software_breakpoint_reason: bool = False
    hardware_breakpoint_reason: bool = False
    vcont: frozenset[str] = frozenset()
    single_registers: bool = False
    binary_write: bool = False
    physical_memory: bool = False

    @classmethod
    def parse(cls, reply: bytes) -> Features:
        """Reads the reply to `QUERY`; an empty one, from a stub that does not know it, offers nothing.

        Raises:
            ProtocolError: the packet size is no size.
        """
        offers = reply.split(b";")
        return cls(
            packet_size=_packet_size(offers),
            no_ack=b"QStartNoAckMode+" in offers,
            multiprocess=b"multiprocess+" in offers,
            describes_registers=b"qXfer:features:read+" in offers,
            software_breakpoint_reason=b"swbreak+" in offers,
            hardware_breakpoint_reason=b"hwbreak+" in offers,
        )


def _packet_size(offers: list[bytes]) -> int:
    for offer in offers:
        name, _, value = offer.partition(b"=")
        if name == b"PacketSize":
            try:
                size = int(value, 16)
            except ValueError:
                size = 0
            if size < _SMALLEST_PACKET_SIZE:
                raise unexpected(offer, "qSupported")
            return min(size, _LARGEST_PACKET_SIZE)
    return _DEFAULT_PACKET_SIZE
