"""How to find the caller of a kernel function: call frame information (DWARF 4, section 6.4) made from code.

Linux on arm64 keeps frame records, {x29, x30} at [x29] (AAPCS64, section 6.4.6), but gdb's own analysis of
prologues gives up at the ``nop`` instructions that functions begin with, for ftrace. So what makes and drops
frame records is read here::

    stp x29, x30, [sp, #-48]!     or  sub sp, sp, #256              ldp x29, x30, [sp], #48
    mov x29, sp                       stp x29, x30, [sp, #160]      ret
                                      add x29, sp, #160

An exception from the kernel leaves all registers on the stack (``kernel_entry`` in
``arch/arm64/kernel/entry.S``), so that what was interrupted is found with all of its registers.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

_FP, _LR, _SP, _PC = 29, 30, 31, 32
"""Registers by their numbers in DWARF for the Arm 64-bit Architecture, section 4.1."""

_OUTERMOST = re.compile(
    r"el0t_(64|32)_(sync|irq|fiq|error)|ret_to_user|ret_from_fork|rest_init|cpu_resume"
    r"|_text|primary_entry|__primary_switch|__primary_switched"
    r"|secondary_holding_pen|secondary_entry|secondary_startup|__secondary_switched"
)
"""What no kernel function has called; ``rest_init`` was, by one whose memory is freed soon."""

_FROM_KERNEL = re.compile(r"el1[ht]_64_(sync|irq|fiq|error)")

_GENERAL_REGISTERS = 31
_PT_REGS_SP, _PT_REGS_PC = 248, 256

_CIE_ID = 0xFFFFFFFF
_VERSION = 4
_ADDRESS_SIZE = 8
_CODE_UNIT, _DATA_UNIT = 4, -8
_ADVANCE, _OFFSET, _RESTORE = 0x40, 0x80, 0xC0  # the operand is in the low six bits
_ADVANCE_4, _UNDEFINED, _DEF_CFA = 0x04, 0x07, 0x0C
_LOW_SIX = 0x3F


@dataclass(frozen=True, slots=True)
class Function:
    """A piece of code with names.

    Attributes:
        names: What it is called.
        address: Its virtual address, as linked.
        code: Its instructions.
    """

    names: tuple[str, ...]
    address: int
    code: bytes


@dataclass(frozen=True, slots=True)
class _Frame:
    """What is known at an instruction, in bytes up to the caller's sp (the canonical frame address).

    Attributes:
        sp: From sp.
        fp: From x29; None as long as that is the caller's.
        record: From the frame record; None if x29 and x30 are the caller's.
    """

    sp: int = 0
    fp: int | None = None
    record: int | None = None


def call_frames(functions: Iterable[Function]) -> bytes:
    """The content of a ``.debug_frame`` section that describes functions."""
    calls, exceptions = _common(""), _common("zS")
    section = bytearray(calls + exceptions)
    for function in functions:
        common = 0
        if any(map(_FROM_KERNEL.fullmatch, function.names)):
            common, program = len(calls), b"\0" + _exception(function.code)
        elif any(map(_OUTERMOST.fullmatch, function.names)):
            program = bytes((_UNDEFINED, _LR))
        else:
            program = _ordinary(function.code)
        section += _entry(struct.pack("<I2Q", common, function.address, len(function.code)) + program)
    return bytes(section)


def _frames(code: bytes) -> Iterator[tuple[int, _Frame]]:
    """From which instruction on the frame is another, and how it is then.

    Behind an instruction that leaves the function, it is again as in the function's body.
    """
    frame = body = _Frame()
    for found in _RELEVANT.finditer(code[3::4]):
        (word,) = struct.unpack_from("<I", code, 4 * found.start())
        after = _KINDS[word >> 24](word, frame)
        if after is None:
            after = body
        elif after.record is not None:
            body = after
        if after != frame:
            frame = after
            yield found.end(), frame


def _pair(word: int, frame: _Frame) -> _Frame:
    """``stp`` and ``ldp`` of x29 and x30 at sp."""
    if word & 0x7FFF != 0x7BFD:  # noqa: PLR2004 - x29, x30, [sp
        return frame
    offset = 8 * ((word >> 15 & 0x3F) - (word >> 15 & 0x40))
    match word >> 22:
        case 0x2A6:  # stp, pre-indexed
            sp = (0 if frame.fp is not None else frame.sp) - offset
            return _Frame(sp=sp, record=sp)
        case 0x2A4:  # stp
            return replace(frame, fp=None, record=frame.sp - offset)
        case 0x2A3:  # ldp, post-indexed
            return _Frame(sp=max(frame.sp - offset, 0))
        case 0x2A5:  # ldp
            return _Frame(sp=frame.sp)
    return frame


def _immediate(word: int) -> int:
    return (word >> 10 & 0xFFF) << (12 if word >> 22 & 1 else 0)


def _add(word: int, frame: _Frame) -> _Frame:
    """``add``; ``mov`` from or to sp is an ``add`` of nothing."""
    match word & 0x3FF:
        case 0x3FD if frame.record is not None:  # x29, sp
            return replace(frame, fp=frame.sp - _immediate(word))
        case 0x3FF if frame.record is None:  # sp, sp
            return replace(frame, sp=max(frame.sp - _immediate(word), 0))
        case 0x3BF if frame.fp is not None:  # sp, x29
            return replace(frame, sp=frame.fp - _immediate(word))
    return frame


def _sub(word: int, frame: _Frame) -> _Frame:
    """``sub sp, sp``."""
    return replace(frame, sp=frame.sp + _immediate(word)) if word & 0x3FF == 0x3FF else frame  # noqa: PLR2004


def _branch(word: int, frame: _Frame) -> _Frame | None:
    """``b``, ``br``, ``ret``: what is behind them does not follow on them; ``blr`` comes back."""
    return frame if word >> 16 == 0xD63F else None  # noqa: PLR2004


_KINDS: dict[int, Callable[[int, _Frame], _Frame | None]] = {
    **dict.fromkeys((0xA8, 0xA9), _pair),
    0x91: _add,
    0xD1: _sub,
    **dict.fromkeys((*range(0x14, 0x18), 0xD6), _branch),
}
"""What instructions do to the frame, by their highest byte; None stands for: the function's body again."""

_RELEVANT = re.compile(b"[%b]" % re.escape(bytes(_KINDS)))


def _ordinary(code: bytes) -> bytes:
    """The rules for a function that is called."""
    program, at = bytearray(), 0
    for number, frame in _frames(code):
        program += _advance(number - at)
        program += _cfa(_SP, frame.sp) if frame.fp is None else _cfa(_FP, frame.fp)
        if frame.record is None:
            program += bytes((_RESTORE | _FP, _RESTORE | _LR))
        else:
            program += _saved(_FP, frame.record) + _saved(_LR, frame.record - 8)
        at = number
    return bytes(program)


def _exception(code: bytes) -> bytes:
    """The rules for an exception's entry: from where x29 points to the frame record in ``struct pt_regs``."""
    unknown = bytes((_UNDEFINED, _PC))
    for number, (word,) in enumerate(struct.iter_unpack("<I", code), 1):
        record = _immediate(word)
        if word >> 24 == 0x91 and word & 0x3FF == 0x3FD and record > _PT_REGS_PC:  # noqa: PLR2004 - add x29, sp
            saved = {register: 8 * register for register in range(_GENERAL_REGISTERS)}
            saved |= {_SP: _PT_REGS_SP, _PC: _PT_REGS_PC}
            rules = b"".join(_saved(register, record - place) for register, place in saved.items())
            return unknown + _advance(number) + _cfa(_FP, 0) + rules
    return unknown


def _advance(instructions: int) -> bytes:
    if instructions <= _LOW_SIX:
        return bytes((_ADVANCE | instructions,))
    return struct.pack("<BI", _ADVANCE_4, instructions)


def _cfa(register: int, distance: int) -> bytes:
    return bytes((_DEF_CFA, register)) + _unsigned(distance)


def _saved(register: int, below: int) -> bytes:
    """A register of the caller is so many bytes below the canonical frame address."""
    return bytes((_OFFSET | register,)) + _unsigned(below // -_DATA_UNIT)


def _unsigned(value: int) -> bytes:
    """LEB128."""
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _common(augmentation: str) -> bytes:
    """What entries have in common; with ``zS`` the caller was interrupted, and its PC is where it goes on."""
    return_address = bytes((_PC, 0)) if augmentation else bytes((_LR,))
    return _entry(
        struct.pack("<IB", _CIE_ID, _VERSION)
        + augmentation.encode()
        + bytes((0, _ADDRESS_SIZE, 0, _CODE_UNIT, _DATA_UNIT & 0x7F))
        + return_address
        + _cfa(_SP, 0)
    )


def _entry(content: bytes) -> bytes:
    padding = bytes(-(len(content) + 4) % 8)  # DW_CFA_nop
    return struct.pack("<I", len(content) + len(padding)) + content + padding
