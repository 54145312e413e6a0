from __future__ import annotations

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.symbols.elf import write
from hil_agent.symbols.table import Symbol
from hil_agent.symbols.vmlinux import read_vmlinux

START = 0xFFFF800080000000
END = START + 0x10000

places = st.integers(START, END - 1)
symbols = st.builds(
    Symbol, st.from_regex(r"[a-z_]{1,20}", fullmatch=True), st.sampled_from("TtDdBbR"), places
)


def entries(path: Path) -> dict[str, tuple[int, int, str, str]]:
    with path.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        return {
            each.name: (each["st_value"], each["st_size"], each["st_info"]["type"], each["st_info"]["bind"])
            for each in table.iter_symbols()
            if each.name
        }


@given(st.lists(symbols, max_size=50))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, given_: list[Symbol]) -> None:
    path = tmp_path_factory.mktemp("elf") / "kernel.elf"
    path.write_bytes(write(sorted(given_, key=lambda symbol: symbol.address), start=START, end=END))
    found = [
        (each.name, each.address, each.is_code, each.kind.isupper())
        for each in read_vmlinux(path).table.symbols
    ]
    assert sorted(found) == sorted(
        (each.name, each.address, each.is_code, each.kind.isupper()) for each in given_
    )


def test_functions_reach_to_the_next_address(tmp_path: Path) -> None:
    path = tmp_path / "kernel.elf"
    path.write_bytes(
        write(
            [
                Symbol("one", "T", START),
                Symbol("alias", "t", START),
                Symbol("two", "t", START + 0x10),
                Symbol("data", "D", START + 0x40),
            ],
            start=START,
            end=END,
        )
    )
    assert entries(path) == {
        "one": (START, 0x10, "STT_FUNC", "STB_GLOBAL"),
        "alias": (START, 0x10, "STT_FUNC", "STB_LOCAL"),
        "two": (START + 0x10, 0x30, "STT_FUNC", "STB_LOCAL"),
        "data": (START + 0x40, END - START - 0x40, "STT_OBJECT", "STB_GLOBAL"),
    }


def test_symbols_outside_of_the_kernel_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "kernel.elf"
    outside = [Symbol("before", "T", START - 4), Symbol("in", "T", START), Symbol("behind", "T", END + 4)]
    path.write_bytes(write(outside, start=START, end=END))
    assert list(entries(path)) == ["in"]


def test_call_frames_are_in_their_section(tmp_path: Path) -> None:
    path = tmp_path / "kernel.elf"
    path.write_bytes(write([Symbol("one", "T", START)], start=START, end=END, frames=b"frames"))
    with path.open("rb") as stream:
        section = ELFFile(stream).get_section_by_name(".debug_frame")
        assert section is not None
        assert section.data() == b"frames"
