"""Numbers as people give them on a command line: addresses and register values."""

from __future__ import annotations

import click


class Number(click.ParamType[int]):
    """A number of at most so many bits: decimal, or hexadecimal with 0x."""

    name = "number"

    def __init__(self, bits: int) -> None:
        self._bits = bits

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number that a word stands for."""
        try:
            number = int(str(value), 0)
        except ValueError:
            number = -1
        if not 0 <= number < 1 << self._bits:
            self.fail(f"{value!r} is no number of {self._bits} bits, such as 0x40200000", param, ctx)
        return number
