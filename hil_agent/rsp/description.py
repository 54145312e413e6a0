"""Target descriptions: which registers a stub has, and where they stand in its replies. Pure.

Source: GDB's manual, appendix "Target Descriptions".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final
from xml.parsers import expat

from hil_agent.errors import ProtocolError, UsageError

ROOT_ANNEX: Final = "target.xml"
DOCUMENT_LIMIT: Final = 64
"""How many documents one description may consist of."""
REGISTER_LIMIT: Final = 8192
"""How many registers one description may have."""

_ARCHITECTURAL: Final = {
    b"ACTLR": b"ACTLR_EL1",
    b"AMAIR0": b"AMAIR_EL1",
    b"CLIDR": b"CLIDR_EL1",
    b"CNTKCTL": b"CNTKCTL_EL1",
    b"CPACR": b"CPACR_EL1",
    b"CSSELR": b"CSSELR_EL1",
    b"SCTLR": b"SCTLR_EL1",
    b"VBAR": b"VBAR_EL1",
}
"""Registers that QEMU calls as AArch32 does (target/arm/helper.c), and their names in AArch64."""

_REGISTER_NAME: Final = re.compile(rb'(?<=<reg name=")\w+(?=")')
_WIDEST: Final = 1 << 20  # bits
_HIGHEST_NUMBER: Final = 0xFFFF


@dataclass(frozen=True)
class Register:
    """One register of a target.

    Attributes:
        name: as the stub spells it: ``x0``, ``cpsr``, ``ESR_EL2``.
        number: what stands for it in ``p`` and ``P`` packets and in stop replies.
        bits: its width.
        offset: its first byte in the reply to ``g``, if the reply is long enough to hold it.
        type: GDB's type of the value, such as ``int`` or ``code_ptr``.
        group: GDB's register group, such as ``general`` or ``system``; empty where not given.
        feature: the feature it belongs to, such as ``org.gnu.gdb.aarch64.core``.
    """

    name: str
    number: int
    bits: int
    offset: int
    type: str = "int"
    group: str = ""
    feature: str = ""

    @property
    def size(self) -> int:
        """Bytes that it takes in a reply."""
        return (self.bits + 7) // 8

    @cached_property
    def span(self) -> tuple[int, int]:
        """Where its hexadecimal digits begin and end in the reply to ``g``."""
        return 2 * self.offset, 2 * (self.offset + self.size)


@dataclass(frozen=True, slots=True)
class TargetDescription:
    """The registers of a target by name, in the order of their numbers."""

    architecture: str
    registers: Mapping[str, Register]

    def __getitem__(self, name: str) -> Register:
        """The register of that name.

        Raises:
            UsageError: the target has none.
        """
        try:
            return self.registers[name]
        except KeyError:
            raise UsageError(
                f"the target has no register {name!r}",
                hint="Names are as the stub spells them: x0, pc, ESR_EL1.",
            ) from None

    @classmethod
    def load(cls, fetch: Callable[[str], bytes]) -> TargetDescription:
        """Reads the description at `ROOT_ANNEX` and all that it includes.

        Args:
            fetch: gives the document of a name (an annex).

        Raises:
            ProtocolError: it is malformed, or larger than the limits of this module.
        """
        reader = _Reader(fetch)
        reader.read(ROOT_ANNEX)
        return cls(reader.architecture, _lay_out(reader.found))


def with_architectural_names(document: bytes) -> bytes:
    """A document of a target description in which registers are called as the Arm ARM calls them."""
    return _REGISTER_NAME.sub(lambda name: _ARCHITECTURAL.get(name[0], name[0]), document)


def _lay_out(found: list[Register]) -> dict[str, Register]:
    """Registers by name with their offsets: ``g`` carries them in the order of their numbers."""
    registers: dict[str, Register] = {}
    offset = 0
    for item in sorted(found, key=lambda register: register.number):
        registers[item.name] = replace(item, offset=offset)
        offset += item.size
    return registers


@dataclass
class _Reader:
    """Walks through the documents of a description in reading order, as numbers count on across them."""

    fetch: Callable[[str], bytes]
    architecture: str = ""
    found: list[Register] = field(default_factory=list)
    _documents: int = 0
    _next_number: int = 0

    def read(self, annex: str) -> None:
        self._documents += 1
        if self._documents > DOCUMENT_LIMIT:
            raise ProtocolError(f"the target description has more than {DOCUMENT_LIMIT} documents")
        feature = ""
        in_architecture = False

        def start(tag: str, attributes: dict[str, str]) -> None:
            nonlocal feature, in_architecture
            in_architecture = tag == "architecture"
            match tag:
                case "feature":
                    feature = attributes.get("name", "")
                case "reg":
                    self._add(attributes, feature)
                case "xi:include":
                    self.read(attributes["href"])

        def text(data: str) -> None:
            if in_architecture:
                self.architecture += data.strip()

        def end(_tag: str) -> None:
            nonlocal in_architecture
            in_architecture = False

        def refuse_entity(*_: object) -> None:
            raise ValueError("entities are not allowed")

        parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler = start
        parser.EndElementHandler = end
        parser.CharacterDataHandler = text
        parser.EntityDeclHandler = refuse_entity
        try:
            parser.Parse(self.fetch(annex), True)
        except KeyError as error:
            raise ProtocolError(f"target description {annex!r}: attribute {error} is missing") from None
        except (expat.ExpatError, ValueError) as error:
            raise ProtocolError(f"target description {annex!r}: {error}") from error

    def _add(self, attributes: dict[str, str], feature: str) -> None:
        number = int(attributes.get("regnum", self._next_number))
        bits = int(attributes["bitsize"])
        if not (0 <= number <= _HIGHEST_NUMBER and 0 < bits <= _WIDEST and len(self.found) < REGISTER_LIMIT):
            raise ValueError(f"register {attributes['name']!r} has number {number} and {bits} bits")
        kind, group = attributes.get("type", "int"), attributes.get("group", "")
        self.found.append(Register(attributes["name"], number, bits, 0, kind, group, feature))
        self._next_number = number + 1


def _aarch64_core() -> TargetDescription:
    names = [*(f"x{index}" for index in range(31)), "sp", "pc", "cpsr"]
    feature = "org.gnu.gdb.aarch64.core"
    core = [
        Register(name, number, 32 if name == "cpsr" else 64, 0, feature=feature)
        for number, name in enumerate(names)
    ]
    return TargetDescription("aarch64", _lay_out(core))


AARCH64_CORE: Final = _aarch64_core()
"""What every AArch64 stub has, for those that describe nothing themselves."""
