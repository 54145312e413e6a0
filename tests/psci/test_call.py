from __future__ import annotations

from hil_agent.psci import Call, Conduit, Function

GARBAGE = 0xDEAD_BEEF_0000_0000


def call(*registers: int) -> Call:
    x0, x1, x2, x3 = registers + (0,) * (4 - len(registers))
    return Call(0, Conduit.HVC, (x0, x1, x2, x3))


def test_the_function_id_is_the_low_half_of_x0() -> None:
    assert call(GARBAGE | 0xC400_000E).function_id == 0xC400_000E


def test_a_known_function_is_named() -> None:
    assert call(0xC400_000E).name == "SYSTEM_SUSPEND"


def test_both_widths_are_the_same_function() -> None:
    assert call(0x8400_0003).function is call(0xC400_0003).function is Function.CPU_ON


def test_an_unknown_function_is_named_by_its_id() -> None:
    assert call(0x8400_0099).name == "0x84000099"


def test_a_short_id_is_padded() -> None:
    assert call(0x2).name == "0x00000002"


def test_a_32_bit_call_has_32_bit_arguments() -> None:
    assert call(0x8400_000E, GARBAGE | 1, GARBAGE | 2, GARBAGE | 3).args == (1, 2, 3)


def test_a_64_bit_call_has_64_bit_arguments() -> None:
    assert call(0xC400_000E, GARBAGE | 1, 2, 3).args == (GARBAGE | 1, 2, 3)


def test_arguments_of_an_unknown_call_are_not_touched() -> None:
    assert call(0x8400_0099, GARBAGE).args == (GARBAGE, 0, 0)
