from __future__ import annotations

import pytest

from hil_agent.symbols.table import Symbol, SymbolTable

TABLE = SymbolTable(
    [
        Symbol("later", "T", 0x2000),
        Symbol("first", "T", 0x1000),
        Symbol("alias", "t", 0x1000),
        Symbol("first", "t", 0x3000),
    ],
    end=0x4000,
)


@pytest.mark.parametrize(
    ("address", "words"),
    [(0x1000, "first"), (0x1012, "first+0x12"), (0x2000, "later"), (0x3FFF, "first+0xfff")],
)
def test_an_address_is_described_by_the_symbol_before_it(address: int, words: str) -> None:
    assert TABLE.describe(address) == words


@pytest.mark.parametrize("address", [0, 0xFFF, 0x4000, 1 << 63])
def test_an_address_outside_is_not_described(address: int) -> None:
    assert TABLE.describe(address) is None


def test_a_name_has_its_lowest_address() -> None:
    assert (TABLE.address("first"), TABLE.address("alias")) == (0x1000, 0x1000)


def test_an_unknown_name_has_none() -> None:
    assert TABLE.address("nowhere") is None
