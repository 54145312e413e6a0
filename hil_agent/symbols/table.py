"""A kernel's symbols, by name and by address."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

_CODE = frozenset("tTwW")


@dataclass(frozen=True, slots=True)
class Symbol:
    """The name of an address in the kernel.

    Attributes:
        name: As the source has it.
        kind: A letter as ``nm`` prints it: ``T`` or ``t`` is code.
        address: Its virtual address as linked, without KASLR.
    """

    name: str
    kind: str
    address: int

    @property
    def is_code(self) -> bool:
        """Whether it names code."""
        return self.kind in _CODE


class SymbolTable:
    """Symbols, to look up.

    Args:
        symbols: In any order. Of several at one address the first is the one that the address is called by.
        end: The address, as linked, behind the last one's range.
    """

    def __init__(self, symbols: Iterable[Symbol], end: int) -> None:
        self.symbols = tuple(sorted(symbols, key=lambda symbol: symbol.address))
        self.end = end
        self._by_name: dict[str, Symbol] = {}
        by_address: dict[int, Symbol] = {}
        for symbol in self.symbols:
            self._by_name.setdefault(symbol.name, symbol)
            by_address.setdefault(symbol.address, symbol)
        self._addresses = list(by_address)
        self._by_address = list(by_address.values())

    def address(self, name: str) -> int | None:
        """The address, as linked, of the symbol of that name; the lowest, if there are several."""
        symbol = self._by_name.get(name)
        return None if symbol is None else symbol.address

    def describe(self, address: int) -> str | None:
        """An address, as linked, in words: ``cpu_resume+0x12``; None if it is outside of the kernel."""
        index = bisect_right(self._addresses, address) - 1
        if index < 0 or address >= self.end:
            return None
        distance = address - self._addresses[index]
        name = self._by_address[index].name
        return f"{name}+{distance:#x}" if distance else name
