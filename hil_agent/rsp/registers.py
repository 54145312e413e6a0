"""The registers of one thread, as one reply to ``g`` gave them. Pure.

Values are taken to be little-endian, which is how AArch64 stubs send registers.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hil_agent.errors import UsageError
from hil_agent.rsp.description import Register, TargetDescription
from hil_agent.rsp.reply import UnavailableError, check_answered, unexpected


def decode_value(register: Register, text: bytes) -> int:
    """The value of a register from its hexadecimal text, in target order.

    Raises:
        UnavailableError: the stub does not have the value.
        ProtocolError: the text is no value of this register's width.
    """
    try:
        value = unhexlify(text)
    except ValueError:
        value = b""
    if len(value) == register.size:
        return int.from_bytes(value, "little")
    what = f"reading register {register.name}"
    if text and not text.strip(b"x"):
        raise UnavailableError(f"the stub has no value for register {register.name}")
    raise unexpected(check_answered(text, what), what)


def encode_value(register: Register, value: int) -> bytes:
    """The hexadecimal text of a register's value, in target order.

    Raises:
        UsageError: the value does not fit the register.
    """
    if not 0 <= value < 1 << register.bits:
        raise UsageError(f"{value:#x} does not fit register {register.name} of {register.bits} bits")
    return value.to_bytes(register.size, "little").hex().encode()


@dataclass(frozen=True, slots=True)
class Registers:
    """A view on a reply to ``g``; each register is decoded when asked for.

    Attributes:
        description: where each register stands.
        text: the reply, in hexadecimal.
    """

    description: TargetDescription
    text: bytes

    def __getitem__(self, name: str) -> int:
        """The value of a register.

        Raises:
            UsageError: the target has no such register.
            UnavailableError: its value is not in this reply (`Client.read_register` may still have it).
            ProtocolError: the stub sent something that is no value.
        """
        register = self.description[name]
        start, end = register.span
        text = self.text[start:end]
        if not text:
            raise UnavailableError(f"register {name} is not in the stub's reply to 'g'")
        return decode_value(register, text)

    def __iter__(self) -> Iterator[str]:
        """The names of the registers that the reply has room for."""
        size = len(self.text) // 2
        return (item.name for item in self.description.registers.values() if item.offset + item.size <= size)

    def with_values(self, values: Mapping[str, int]) -> bytes:
        """The payload of a ``G`` that writes these registers back with `values` in place of their own."""
        text = bytearray(self.text)
        for name, value in values.items():
            register = self.description[name]
            if name not in self:
                raise UnavailableError(f"register {name} is not in the stub's reply to 'g'")
            start = 2 * register.offset
            text[start : start + 2 * register.size] = encode_value(register, value)
        return b"G" + text
