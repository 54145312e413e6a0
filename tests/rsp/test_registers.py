from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.errors import ProtocolError, UsageError
from hil_agent.rsp import AARCH64_CORE, RefusedError, Register, Registers, UnavailableError
from hil_agent.rsp.registers import decode_value, encode_value

X0 = AARCH64_CORE["x0"]
ZEROS = b"00" * (33 * 8 + 4)


@given(st.integers(min_value=1, max_value=256), st.data())
def test_values_survive_the_wire(bits: int, data: st.DataObject) -> None:
    register = Register("v", 0, bits, 0)
    value = data.draw(st.integers(min_value=0, max_value=2**bits - 1))
    assert decode_value(register, encode_value(register, value)) == value


def test_values_are_little_endian() -> None:
    assert encode_value(X0, 0x1122) == b"2211000000000000"


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_a_value_that_does_not_fit_is_the_users_error(value: int) -> None:
    with pytest.raises(UsageError, match="does not fit register x0 of 64 bits"):
        encode_value(X0, value)


def test_a_reply_is_decoded_register_by_register() -> None:
    registers = Registers(AARCH64_CORE, b"2a" + ZEROS[2:-8] + b"c5030040")
    assert (registers["x0"], registers["x1"], registers["cpsr"]) == (42, 0, 0x400003C5)


def test_a_register_without_a_value_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="no value for register x0"):
        Registers(AARCH64_CORE, b"xx" * 8 + ZEROS[16:])["x0"]


def test_a_register_beyond_the_reply_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="x30 is not in"):
        Registers(AARCH64_CORE, ZEROS[:32])["x30"]


@pytest.mark.parametrize("text", [b"1234", b"zz" * 8, b"xx0000000000000x"])
def test_what_is_no_value_is_nonsense(text: bytes) -> None:
    with pytest.raises(ProtocolError, match="register x0"):
        decode_value(X0, text)


def test_an_error_in_place_of_a_value_is_a_refusal() -> None:
    with pytest.raises(RefusedError, match="reading register x0: error 0x01"):
        decode_value(X0, b"E01")


def test_iteration_names_what_the_reply_has_room_for() -> None:
    assert list(Registers(AARCH64_CORE, ZEROS[:40])) == ["x0", "x1"]


def test_values_are_replaced_in_place() -> None:
    assert (
        Registers(AARCH64_CORE, b"00" * 24).with_values({"x1": 0xFF}) == b"G" + b"00" * 8 + b"ff" + b"00" * 15
    )


def test_a_register_beyond_the_reply_cannot_be_replaced() -> None:
    with pytest.raises(UnavailableError):
        Registers(AARCH64_CORE, ZEROS[:32]).with_values({"x30": 1})
