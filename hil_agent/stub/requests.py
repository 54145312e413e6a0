"""What stands in a debugger's requests. Pure."""

from __future__ import annotations

from binascii import unhexlify

from hil_agent.engine.run_control import Plan
from hil_agent.errors import ProtocolError
from hil_agent.rsp.thread import ALL, ThreadId

_ADDRESS_SPACE = 1 << 64


class RequestError(ProtocolError):
    """A debugger's request makes no sense."""

    def __init__(self, message: str = "the request makes no sense") -> None:
        super().__init__(message)


def number(text: bytes) -> int:
    """A number in hexadecimal, as the protocol writes all of them.

    Raises:
        RequestError: it is none.
    """
    try:
        return int(text, 16)
    except ValueError:
        raise RequestError(f"{text[:40]!r} is no number") from None


def octets(text: bytes) -> bytes:
    """Bytes that are spelled out in hexadecimal.

    Raises:
        RequestError: they are not.
    """
    try:
        return unhexlify(text)
    except ValueError:
        raise RequestError from None


def memory_range(text: bytes) -> tuple[int, int]:
    """``ADDRESS,LENGTH``.

    Raises:
        RequestError: it is not, or not within the 64-bit address space.
    """
    address, comma, length = text.partition(b",")
    start, size = number(address), number(length)
    if not comma or start < 0 or size < 0 or start + size > _ADDRESS_SPACE:
        raise RequestError
    return start, size


def thread_of(text: bytes, cpus: int) -> int | None:
    """The vCPU that a thread ID names; None if it stands for any or all of them, or for none there is."""
    tid = ThreadId.parse(text).tid
    return tid - 1 if 1 <= tid <= cpus else None


def parse_plan(payload: bytes, cpus: int, current: int) -> Plan:
    """What ``vCont`` asks for. Each vCPU does what the first action that names it says.

    Args:
        payload: the packet.
        cpus: how many vCPUs there are.
        current: the vCPU that is preferred where several would step; one steps, those others run.

    Raises:
        RequestError: it names no vCPU, or an action that we do not know.
    """
    doing: dict[int, bytes] = {}
    for action in payload.split(b";")[1:]:
        what, colon, who = action.partition(b":")
        letter = what[:1].lower()
        if letter not in {b"c", b"s"}:
            raise RequestError
        every = not colon or ThreadId.parse(who).tid == ALL
        named = range(cpus) if every else [cpu for cpu in [thread_of(who, cpus)] if cpu is not None]
        for cpu in named:
            doing.setdefault(cpu, letter)
    stepping = [cpu for cpu, letter in doing.items() if letter == b"s"]
    if not doing:
        raise RequestError
    step = current if current in stepping else stepping[0] if stepping else None
    going = frozenset(doing) - {step}
    return Plan(step, None if len(going) == cpus - (step is not None) else going)
