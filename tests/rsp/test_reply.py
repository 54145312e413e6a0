from __future__ import annotations

import pytest

from hil_agent.errors import ProtocolError
from hil_agent.rsp import RefusedError, UnsupportedError
from hil_agent.rsp.reply import check_answered, check_done, decode_hex, excerpt


def test_ok_is_done() -> None:
    check_done(b"OK", "resetting")


def test_an_empty_reply_means_unsupported_and_names_the_request() -> None:
    with pytest.raises(UnsupportedError, match="does not support resetting"):
        check_done(b"", "resetting")


@pytest.mark.parametrize(("reply", "reason"), [(b"E22", "error 0x22"), (b"E.no memory", "no memory")])
def test_an_error_names_request_and_reason(reply: bytes, reason: str) -> None:
    with pytest.raises(RefusedError, match=f"refused reading 4 bytes: {reason}"):
        decode_hex(reply, "reading 4 bytes")


def test_data_is_not_taken_for_an_error() -> None:
    assert check_answered(b"E011", "reading") == b"E011"


def test_something_else_than_ok_is_not_done() -> None:
    with pytest.raises(ProtocolError, match="answered resetting with 'maybe'"):
        check_done(b"maybe", "resetting")


@pytest.mark.parametrize("reply", [b"123", b"zz", b"12 34"])
def test_what_is_not_hexadecimal_is_nonsense(reply: bytes) -> None:
    with pytest.raises(ProtocolError, match="answered reading"):
        decode_hex(reply, "reading")


def test_hostile_bytes_are_quoted_and_cut() -> None:
    text = excerpt(b"\x1b[2J" + b"a" * 1000)
    assert (text.isprintable(), len(text)) == (True, 84)
