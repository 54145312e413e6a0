"""A vCPU as a debugger sees it: as if there were no code of ours.

A vCPU whose call is being answered, or that is suspended or off, stands in our code. A debugger sees it at
its call, or behind it, with the guest's own registers and the guest's address space.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from hil_agent.engine.run_control import RunControl
from hil_agent.errors import StateError, UsageError
from hil_agent.rsp import Client, Registers, UnavailableError
from hil_agent.rsp.description import Register
from hil_agent.rsp.registers import decode_value, encode_value
from hil_agent.symbols.translation import TranslationRegime, translate
from hil_agent.trap.source import TrapSource

_REGIME: Final = ("SCTLR_EL1", "TCR_EL1", "TTBR0_EL1", "TTBR1_EL1")
_VECTOR: Final = re.compile(r"[vz]\d+|fpsr|fpcr")
"""Not among what ``g`` tells, but the stub writes them, and no single instruction of ours could."""

_SMALLEST_PAGE: Final = 4096
_CODE_SIZE: Final = 64


class View:
    """Registers and memory of every vCPU. The machine stands still; belongs to the thread that owns it.

    Args:
        client: the target's debug stub.
        run_control: knows what waits for us, and whether our code is to be seen.
        source: tells what of a vCPU in our code is the guest's.
    """

    def __init__(self, client: Client, run_control: RunControl, source: TrapSource) -> None:
        self._client = client
        self._run_control = run_control
        self._source = source
        self._code: tuple[Registers, bytes] | None = None
        self._by_number: Mapping[int, Register] = {
            register.number: register for register in client.description.registers.values()
        }

    def register(self, number: int) -> Register:
        """The register with a number.

        Raises:
            UsageError: there is none.
        """
        try:
            return self._by_number[number]
        except KeyError:
            raise UsageError(f"the target has no register number {number:#x}") from None

    def read_all(self, cpu: int) -> bytes:
        """The payload of a reply to ``g``."""
        registers = self._raw(cpu)
        shown = self._shown(cpu, registers)
        if not shown:
            return registers.text
        return registers.with_values({name: shown[name] for name in registers if name in shown})[1:]

    def read(self, cpu: int, register: Register) -> bytes:
        """A register's value as it stands in a reply to ``p``.

        Raises:
            UnavailableError: the stub does not have its value.
        """
        registers = self._raw(cpu)
        shown = self._shown(cpu, registers)
        if register.name in shown:
            return encode_value(register, shown[register.name])
        start, end = register.span
        if text := registers.text[start:end]:
            return text
        reply = self._client.exchange(b"p%x" % register.number)[0]
        decode_value(register, reply)
        return reply

    def value(self, cpu: int, name: str) -> int:
        """A register's value by name."""
        register = self._client.description[name]
        return decode_value(register, self.read(cpu, register))

    def write_all(self, cpu: int, text: bytes) -> None:
        """Writes what a ``G`` holds; what it leaves as it was is not touched.

        Raises:
            StateError, RefusedError: as from `write`.
        """
        before = Registers(self._client.description, self.read_all(cpu))
        after = Registers(self._client.description, text)
        for name in after:
            register = self._client.description[name]
            start, end = register.span
            if before.text[start:end] != text[start:end]:
                self.write(cpu, register, after[name])

    def write(self, cpu: int, register: Register, value: int) -> None:
        """Writes a register.

        Raises:
            StateError: the vCPU is in our code, and this is not to be changed now.
            RefusedError: the target cannot write it.
        """
        registers = self._raw(cpu)
        shown = self._shown(cpu, registers)
        if register.name in shown:
            raise StateError(
                f"{register.name} of vCPU {cpu} cannot be written while it is in its call",
                hint="let it return first, or resume it",
            )
        if register.name in registers or _VECTOR.fullmatch(register.name):
            self._client.write_registers({register.name: value}, self._source.thread(cpu))
        else:
            self._source.set_system_register(cpu, register.name, value)
        found = self.value(cpu, register.name)
        if found != value:
            raise StateError(f"{register.name} holds {found:#x} after {value:#x} was written to it")

    # ------------------------------------------------------------------------- memory

    def pass_on_read(self, cpu: int, request: bytes) -> bytes | None:
        """The reply to a short ``m`` as the stub gives it; None where its addresses are not the guest's."""
        if self._source.holds(self._raw(cpu)) and not self._run_control.shows_own_code:
            return None
        self._client.select(self._source.thread(cpu))
        return self._client.exchange(request)[0]

    def read_memory(self, cpu: int, address: int, length: int, *, physical: bool = False) -> bytes:
        """Bytes at an address, virtual as the guest sees it on that vCPU, or physical.

        Raises:
            RefusedError, UnavailableError: not all of them can be read.
        """
        regime = None if physical else self._regime(cpu)
        if regime is None:
            self._client.select(self._source.thread(cpu))
            return self._client.read_memory(address, length, physical=physical)
        pieces = self._translated(regime, address, length)
        return b"".join(self.read_physical(at, size) for at, size in pieces)

    def write_memory(self, cpu: int, address: int, data: bytes, *, physical: bool = False) -> None:
        """Writes bytes at an address, virtual as the guest sees it on that vCPU, or physical."""
        self._code = None
        regime = None if physical else self._regime(cpu)
        if regime is None:
            self._client.select(self._source.thread(cpu))
            self._client.write_memory(address, data, physical=physical)
            return
        for at, size in self._translated(regime, address, len(data)):
            self._client.write_memory(at, data[:size], physical=True)
            data = data[size:]

    def code_at(self, cpu: int, address: int, length: int) -> bytes | None:
        """Instructions around a vCPU's next one, which debuggers read again and again; None for all else.

        They are remembered as long as the registers are: while the machine stands.
        """
        registers = self._raw(cpu)
        start = registers["pc"] & -_CODE_SIZE
        if not start <= address <= address + length <= start + _CODE_SIZE or self._source.holds(registers):
            return None
        if self._code is None or self._code[0] is not registers:
            self._client.select(self._source.thread(cpu))
            self._code = registers, self._client.read_memory(start, _CODE_SIZE)
        return self._code[1][address - start : address - start + length]

    def _regime(self, cpu: int) -> TranslationRegime | None:
        """How the guest's addresses are translated, where the stub would not do that itself."""
        registers = self._raw(cpu)
        if self._run_control.shows_own_code or not self._source.holds(registers):
            return None
        shown = self._shown(cpu, registers)
        values = self._client.read_each(_REGIME, self._source.thread(cpu))
        return TranslationRegime(
            *(shown.get(name, value) for name, value in zip(_REGIME, values, strict=True))
        )

    def _translated(self, regime: TranslationRegime, address: int, length: int) -> list[tuple[int, int]]:
        """Where a range of virtual addresses is in memory, as (address, length)."""
        pieces = []
        end = address + length
        while address < end:
            physical = translate(address, regime, self.read_physical)
            if physical is None:
                raise UnavailableError(f"no memory is mapped at {address:#x}")
            size = min(end, (address | _SMALLEST_PAGE - 1) + 1) - address
            pieces.append((physical, size))
            address += size
        return pieces

    def read_physical(self, address: int, length: int) -> bytes:
        """Bytes at a physical address."""
        return self._client.read_memory(address, length, physical=self._client.features.physical_memory)

    # ------------------------------------------------------------------------- within

    def _raw(self, cpu: int) -> Registers:
        return self._client.read_registers(self._source.thread(cpu))

    def _shown(self, cpu: int, registers: Registers) -> Mapping[str, int]:
        """What of a vCPU is shown otherwise than the stub tells it."""
        if self._run_control.shows_own_code or not self._source.holds(registers):
            return {}
        return self._source.as_guest_sees(cpu, registers, self._run_control.executor.waits_at(cpu))
