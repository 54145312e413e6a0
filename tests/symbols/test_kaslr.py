from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.symbols.kaslr import Anchor, virtual_start

LOAD = 0x40200000
START = 0xFFFFA0D520A00000


def memory(word: int) -> bytes:
    return struct.pack("<Q", word)


def test_a_relocated_pointer_tells_where_the_kernel_is() -> None:
    anchor = Anchor(at=0x1000, target=0x10000)
    words = {LOAD + 0x1000: START + 0x10000}
    assert virtual_start(anchor, LOAD, lambda address, _: memory(words[address])) == START


def test_kimage_voffset_tells_where_the_kernel_is() -> None:
    anchor = Anchor(at=0x1000, target=None)
    words = {LOAD + 0x1000: START - LOAD}
    assert virtual_start(anchor, LOAD, lambda address, _: memory(words[address])) == START


@pytest.mark.parametrize("target", [0x10000, None])
def test_as_long_as_the_kernel_has_not_written_it_nothing_is_known(target: int | None) -> None:
    assert virtual_start(Anchor(0x1000, target), LOAD, lambda *_: bytes(8)) is None


@pytest.mark.parametrize(
    "word", [START + 0x10004, 0x40210000, 0x00FFA0D520A10000], ids=["not a page", "physical", "no address"]
)
def test_nonsense_is_not_believed(word: int) -> None:
    assert virtual_start(Anchor(0x1000, 0x10000), LOAD, lambda *_: memory(word)) is None


@given(st.integers(0, (1 << 64) - 1), st.sampled_from([None, 0x10000]))
def test_whatever_is_answered_is_the_start_of_a_page_of_the_kernel(word: int, target: int | None) -> None:
    start = virtual_start(Anchor(0, target), LOAD, lambda *_: memory(word))
    assert start is None or (start >> 52 == 0xFFF and start % 4096 == 0)
