from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_agent.symbols.kallsyms import NoSymbolsError, recover
from hil_agent.symbols.kaslr import Anchor
from hil_agent.symbols.table import Symbol
from tests.symbols.conftest import BASE, ENTRY, Layout, Names, kallsyms_image

MANY: Names = [
    (f"t{'long_' * (number % 40)}function_{number}", 0x30000 + 16 * number) for number in range(700)
]

identifiers = st.from_regex(r"[TtDdBbRr][a-z_][a-z0-9_.$]{1,30}", fullmatch=True)


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("relocated", [False, True], ids=["relocations", "in place"])
def test_every_symbol_is_recovered_from_every_layout(layout: Layout, relocated: bool) -> None:
    recovered = recover(kallsyms_image(MANY, layout, relocated=relocated))
    expected = [("Tprimary_entry", ENTRY), *MANY]
    assert recovered.base == BASE
    assert recovered.symbols == tuple(Symbol(name[1:], name[0], BASE + place) for name, place in expected)


@pytest.mark.parametrize("layout", Layout)
@given(st.lists(identifiers, min_size=256, max_size=300), st.integers(0, 0x10000))
@settings(max_examples=5, deadline=None)
def test_whatever_the_names_are_they_come_back(layout: Layout, names: list[str], first: int) -> None:
    image = kallsyms_image([(name, ENTRY + 4 + first + number) for number, name in enumerate(names)], layout)
    assert [symbol.kind + symbol.name for symbol in recover(image).symbols] == ["Tprimary_entry", *names]


def test_a_pointer_is_found_by_which_a_running_kernel_tells_where_it_is() -> None:
    image = kallsyms_image(MANY, Layout.FIRST, relocated=True)
    anchor = recover(image).anchor
    assert anchor is not None
    assert anchor.target is not None
    (pointer,) = struct.unpack_from("<Q", image, anchor.at)
    assert pointer == BASE + anchor.target


def test_without_relative_base_the_system_calls_tell_where_the_kernel_is() -> None:
    names = [*MANY, ("t__arm64_sys_io_setup", 0x40000), ("Dsys_call_table", 0x40100)]
    image = bytearray(kallsyms_image(names, Layout.RELATIVE_TO_PLACE).ljust(0x40108, b"\0"))
    image[0x40100:] = struct.pack("<Q", BASE + (1 << 30) + 0x40000)
    recovered = recover(bytes(image))
    assert (recovered.base, recovered.anchor) == (BASE + (1 << 30), Anchor(0x40100, 0x40000))


def test_offsets_that_are_not_in_order_are_none() -> None:
    image = kallsyms_image(MANY, Layout.FIRST)
    place = struct.pack("<2I", MANY[0][1], MANY[1][1])
    with pytest.raises(NoSymbolsError):
        recover(image.replace(place, place[4:] + place[:4]))


@pytest.mark.parametrize("layout", Layout)
def test_an_image_that_does_not_branch_to_its_entry_is_not_understood(layout: Layout) -> None:
    image = kallsyms_image(MANY, layout)
    with pytest.raises(NoSymbolsError):
        recover(image[:4] + bytes(4) + image[8:])


@pytest.mark.parametrize("image", [b"", b"MZ", bytes(0x10000)], ids=["nothing", "a header", "zeros"])
def test_what_has_no_tables_has_no_symbols(image: bytes) -> None:
    with pytest.raises(NoSymbolsError):
        recover(image)


@pytest.mark.parametrize("layout", Layout)
@given(st.data())
@settings(max_examples=10, deadline=None)
def test_damage_is_found_or_harmless(layout: Layout, data: st.DataObject) -> None:
    image = bytearray(kallsyms_image(MANY[:300], layout))
    for _ in range(data.draw(st.integers(1, 5))):
        image[data.draw(st.integers(0x8000, len(image) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(image[: data.draw(st.integers(0, len(image)))])
    try:
        recovered = recover(damaged)
    except NoSymbolsError:
        return
    assert len(recovered.symbols) >= 256
