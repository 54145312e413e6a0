from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hil_agent.errors
from hil_agent.console import Cancelled
from hil_agent.errors import FileError, HilAgentError, InternalError, ProtocolError, StateError
from hil_agent.session.protocol import Request, decode, decode_error, decode_request, encode, encode_error

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
KINDS = [
    kind
    for kind in vars(hil_agent.errors).values()
    if isinstance(kind, type) and issubclass(kind, HilAgentError) and kind is not FileError
]


@given(st.dictionaries(st.text(), JSON))
def test_a_message_is_one_line_and_comes_back(message: dict[str, object]) -> None:
    line = encode(message)
    assert (line.count(b"\n"), decode(line)) == (1, message)


@given(st.integers(), st.text(), st.dictionaries(st.text(), JSON))
def test_a_request_comes_back(number: int, method: str, params: dict[str, object]) -> None:
    line = encode({"id": number, "method": method, "params": params})
    assert decode_request(line) == Request(number, method, params)


def test_parameters_may_be_left_out() -> None:
    assert decode_request(b'{"id": 1, "method": "status"}\n') == Request(1, "status", {})


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"id": 1}',
        b'{"id": "1", "method": "status"}',
        b'{"id": 1, "method": 2}',
        b'{"id": 1, "method": "status", "params": []}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_no_request_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_request(line)


@given(st.binary())
def test_no_bytes_do_more_harm_than_being_refused(line: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        decode_request(line)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_comes_back_as_what_it_was(kind: type[HilAgentError]) -> None:
    error = decode_error(encode_error(kind("what", hint="do")))
    assert (type(error), error.message, error.hint) == (kind, "what", "do")


def test_an_error_in_a_file_comes_back_with_its_place_in_the_message() -> None:
    error = decode_error(encode_error(FileError("is odd", path="a.yaml", line=3, field="cpus")))
    assert (type(error), str(error)) == (FileError, "a.yaml:3: cpus: is odd")


def test_an_error_of_another_module_comes_back_as_the_nearest_of_the_tree() -> None:
    assert type(decode_error(encode_error(Cancelled("gone")))) is Cancelled.__bases__[0]


@pytest.mark.parametrize("kind", ["Exception", "Path", "__builtins__", "annotations", "", None, 3])
def test_a_kind_that_is_none_of_ours_is_a_bug(kind: object) -> None:
    assert type(decode_error({"kind": kind, "message": "x", "hint": None})) is InternalError


def test_the_exit_status_survives() -> None:
    assert decode_error(encode_error(StateError("x"))).exit_status == 3
