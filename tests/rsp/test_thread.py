from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.errors import ProtocolError
from hil_agent.rsp import ThreadId
from hil_agent.rsp.thread import ALL

ids = st.integers(min_value=ALL, max_value=2**64 - 1)


@given(ids, st.none() | ids)
def test_a_thread_id_survives_the_wire(tid: int, pid: int | None) -> None:
    thread = ThreadId(tid, pid)
    assert ThreadId.parse(thread.encode()) == thread


@pytest.mark.parametrize(
    ("text", "thread"),
    [
        (b"p01.0a", ThreadId(10, 1)),
        (b"1F", ThreadId(31)),
        (b"p1.-1", ThreadId(ALL, 1)),
        (b"p1", ThreadId(ALL, 1)),
    ],
)
def test_all_forms_are_read(text: bytes, thread: ThreadId) -> None:
    assert ThreadId.parse(text) == thread


@pytest.mark.parametrize("text", [b"", b"p", b"p1.", b"-2", b"1.2", b"p1.2.3", b"0x1", b"1" * 17, b"p1\n"])
def test_other_text_is_no_thread(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        ThreadId.parse(text)
