"""One trapped call, as the guest made it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hil_agent.psci.functions import MASK32, PSCI_0_1_IDS, Form, Function, Width, decode


class Conduit(Enum):
    """The instruction that a guest calls with."""

    HVC = "hvc"
    SMC = "smc"


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it was trapped, before anything is made of it.

    Attributes:
        cpu: index of the calling vCPU.
        conduit: the instruction that trapped.
        registers: x0 to x3, 64 bits each, as the guest left them.
        immediate: the instruction's 16-bit immediate (ESR_EL2.ISS); the SMC Calling Convention wants 0.
    """

    cpu: int
    conduit: Conduit
    registers: tuple[int, int, int, int]
    immediate: int = 0

    @property
    def function_id(self) -> int:
        """The function ID: the low 32 bits of x0."""
        return self.registers[0] & MASK32

    @property
    def form(self) -> Form | None:
        """Function and width that the function ID stands for; None if it has no name here."""
        return decode(self.function_id)

    @property
    def function(self) -> Function | None:
        """The function that is called, whatever the width; None if it has no name here.

        Of the IDs of PSCI 0.1 the usual ones are known.
        """
        form = self.form
        return form.function if form else PSCI_0_1_IDS.get(self.function_id)

    @property
    def name(self) -> str:
        """The function's name, or its ID in hexadecimal, as a trace shows it."""
        function = self.function
        return function.name if function else f"{self.function_id:#010x}"

    @property
    def args(self) -> tuple[int, int, int]:
        """x1 to x3; of an SMC32 call their low 32 bits, since the upper halves mean nothing there."""
        _, x1, x2, x3 = self.registers
        form = self.form
        if form and form.width is Width.SMC32:
            return x1 & MASK32, x2 & MASK32, x3 & MASK32
        return x1, x2, x3
