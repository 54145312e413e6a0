"""What an exception that reached EL2 was: ESR_ELx decoded (Arm ARM D19.2, ESR_EL2)."""

from __future__ import annotations

from dataclasses import dataclass

_CLASSES = {
    0x00: "unknown reason (an undefined instruction)",
    0x01: "trapped WFI or WFE",
    0x07: "trapped FP, SIMD, SVE or SME instruction",
    0x09: "trapped pointer authentication",
    0x0E: "illegal execution state",
    0x12: "HVC from AArch32",
    0x13: "SMC from AArch32",
    0x16: "HVC",
    0x17: "SMC",
    0x18: "trapped system register access",
    0x19: "trapped SVE instruction",
    0x1A: "trapped ERET",
    0x1D: "trapped SME instruction",
    0x20: "instruction abort from the guest",
    0x21: "instruction abort at EL2",
    0x22: "misaligned PC",
    0x24: "data abort from the guest",
    0x25: "data abort at EL2",
    0x26: "misaligned SP",
    0x2F: "SError",
    0x3C: "BRK instruction",
}

_VECTORS = ("synchronous exception", "IRQ", "FIQ", "SError")
_ORIGINS = ("EL2 with SP_EL0", "EL2", "the guest", "the guest in AArch32")
_SYSTEM_REGISTER_TRAP = 0x18


def exception_class(esr: int) -> int:
    """EC, bits [31:26]."""
    return (esr >> 26) & 0x3F


@dataclass(frozen=True, slots=True)
class UnexpectedException:
    """An exception that EL2 did not expect, as the monitor recorded it.

    Attributes:
        vector: offset in the vector table that was taken.
        esr, elr, far, spsr: the 64-bit EL2 registers of those names.
    """

    vector: int
    esr: int
    elr: int
    far: int
    spsr: int

    def __str__(self) -> str:
        kind = _VECTORS[(self.vector >> 7) & 3]
        origin = _ORIGINS[(self.vector >> 9) & 3]
        text = f"unexpected {kind} at EL2, from {origin}"
        if kind == "synchronous exception":
            ec = exception_class(self.esr)
            text += f": {_CLASSES.get(ec, 'exception class')} (EC {ec:#04x})"
            if ec == _SYSTEM_REGISTER_TRAP:
                text += f", {_trapped_register(self.esr)}"
        return f"{text}; ESR {self.esr:#x}, ELR {self.elr:#x}, FAR {self.far:#x}, SPSR {self.spsr:#x}"


def _trapped_register(esr: int) -> str:
    """The register of an EC 0x18 trap, by encoding: its ISS holds op0, op2, op1, CRn, Rt, CRm, direction."""
    op0, op2, op1, crn, crm = (
        (esr >> 20) & 3,
        (esr >> 17) & 7,
        (esr >> 14) & 7,
        (esr >> 10) & 15,
        (esr >> 1) & 15,
    )
    return f"{'read' if esr & 1 else 'write'} of S{op0}_{op1}_C{crn}_C{crm}_{op2}"
