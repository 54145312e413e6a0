"""Backtraces by frame records."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from hil_agent.debug import GdbError
from hil_agent.debug.diagnose.unwind import MOST_FRAMES, walk, without_signature

_STACK = 0xFFFF_8000_0A0C_0000
_CODE = 0xFFFF_8000_0801_0000
_BITS = 48


def _stack(*records: tuple[int, int]) -> Callable[[int, int], bytes]:
    """Memory that holds frame records, 64 bytes from one to the next; nothing else can be read."""
    memory = {_STACK + 64 * index: struct.pack("<QQ", *record) for index, record in enumerate(records)}

    def read(address: int, length: int) -> bytes:
        if address not in memory:
            raise GdbError(f"nothing is mapped at {address:#x}")
        return memory[address][:length]

    return read


def _chain(read: Callable[[int, int], bytes], frame: int = _STACK) -> list[int]:
    return [address - _CODE for address in walk(_CODE, frame, _BITS, read)]


def test_every_caller_is_found() -> None:
    read = _stack((_STACK + 64, _CODE + 4), (_STACK + 128, _CODE + 8), (0, _CODE + 12))
    assert _chain(read) == [0, 4, 8, 12]


def test_the_outermost_frame_has_no_return_address() -> None:
    assert _chain(_stack((_STACK + 64, _CODE + 4), (0, 0))) == [0, 4]


@pytest.mark.parametrize("frame", [0, 1, _STACK + 4096], ids=["none", "misaligned", "not mapped"])
def test_without_a_record_there_is_only_the_pc(frame: int) -> None:
    assert _chain(_stack((0, _CODE)), frame) == [0]


def test_a_chain_that_turns_back_ends() -> None:
    assert _chain(_stack((_STACK + 64, _CODE + 4), (_STACK, _CODE + 8))) == [0, 4, 8]


def test_a_chain_has_a_limit() -> None:
    records = [(_STACK + 64 * (index + 1), _CODE) for index in range(2 * MOST_FRAMES)]
    assert len(_chain(_stack(*records))) == MOST_FRAMES


def test_a_signed_return_address_is_seen_through() -> None:
    signed = (_CODE + 4) & ((1 << 48) - 1) | 0xE4C5 << 48
    assert _chain(_stack((0, signed))) == [0, 4]


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        (0xE4C5_8000_080F_8CAC, 0xFFFF_8000_080F_8CAC),
        (0xFFFF_8000_080F_8CAC, 0xFFFF_8000_080F_8CAC),
        (0x0034_0000_0040_1234, 0x0000_0000_0040_1234),
    ],
    ids=["kernel", "unsigned", "user"],
)
def test_a_signature_is_taken_off(address: int, plain: int) -> None:
    assert without_signature(address, _BITS) == plain
