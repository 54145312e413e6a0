"""Idling: the states that a guest can be offered, and answers that can be repeated.

A guest that idles makes hundreds of calls a second, all alike. An answer that depends on nothing but the
call can be given again by whoever catches calls, without the vPSCI, which is told of it afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from hil_agent.psci.call import Call
from hil_agent.psci.effects import Outcome, PowerDown, Return, Standby
from hil_agent.psci.entry import GENERAL_ZERO, EntryState
from hil_agent.psci.functions import MASK32, Function
from hil_agent.psci.power_state import PowerStateFormat

ASK_ABOUT_IDLING = frozenset(
    {
        Function.CPU_SUSPEND,
        Function.NODE_HW_STATE,
        Function.PSCI_SET_SUSPEND_MODE,
        Function.PSCI_STAT_COUNT,
        Function.PSCI_STAT_RESIDENCY,
    }
)
"""Functions whose answers depend on how vCPUs have idled, or on which do now."""


class IdleState(StrEnum):
    """A low-power state of one vCPU, which it enters by CPU_SUSPEND when it has nothing to do."""

    STANDBY = "standby"
    """The call returns after the next interrupt."""
    POWER_DOWN = "power-down"
    """The vCPU starts at the entry point after the next interrupt."""

    def power_state(self, state_format: PowerStateFormat) -> int:
        """The 32 bits that stand for this state in a call, at power level 0.

        The StateID is one of the recommended encoding, in either format: 1 for standby, 3 for power-down.
        """
        match self:
            case IdleState.STANDBY:
                return 0x1
            case IdleState.POWER_DOWN:
                return 0x3 | state_format.power_down


class AnswerKind(Enum):
    """When an answer is given."""

    AT_ONCE = auto()
    AFTER_STANDBY = auto()
    AFTER_POWER_DOWN = auto()


@dataclass(frozen=True, slots=True)
class RepeatableAnswer:
    """An answer that holds whenever a vCPU makes the same call again.

    Attributes:
        function: what was called.
        registers: x0 to x3 of the call, 64 bits each. Of a call that is the same x0 and x1 are, and for a
            power-down state x2 and x3, too.
        kind: when it is given.
        values: what x0, x1, ... become, none but the first other than 0; for a power-down state only that.
        entry: power-down: how the caller starts. x1 to x30 are zero.
        is_counted: whether the time that the caller waits is told by PSCI_STAT_*.
    """

    function: Function
    registers: tuple[int, int, int, int]
    kind: AnswerKind
    values: tuple[int, ...]
    entry: EntryState | None = None
    is_counted: bool = False

    @property
    def power_state(self) -> int:
        """The state that CPU_SUSPEND was asked for, 32 bits."""
        return self.registers[1] & MASK32


@dataclass(frozen=True, slots=True)
class Repeated:
    """What became of an answer since the last time that it was told.

    Attributes:
        cpu: index of the vCPU that it was given to.
        answer: the answer.
        count: how often it was given.
        time_us: how long the waits before were together, in microseconds.
        waits: whether the vCPU waits in such a call now.
    """

    cpu: int
    answer: RepeatableAnswer
    count: int
    time_us: int
    waits: bool


def repeatable(
    function: Function | None, call: Call, outcome: Outcome, state_format: PowerStateFormat
) -> RepeatableAnswer | None:
    """The answer in the outcome of a call of ``function``, if the same call would always have it.

    A state above level 0 is not only the caller's. A poisoned entry state is more than a `RepeatableAnswer`
    tells. Of the functions that wait for nothing only SMCCC_ARCH_FEATURES matters: Linux calls it whenever
    it is back from a power-down state (arch/arm64/kernel/suspend.c, spectre_v4_enable_mitigation).
    """
    if outcome.fault is not None or call.immediate:
        return None
    registers = call.registers
    match function, outcome.effects:
        case Function.SMCCC_ARCH_FEATURES, (Return((_, *rest) as values),) if not any(rest):
            return RepeatableAnswer(function, registers, AnswerKind.AT_ONCE, values)
        case Function.CPU_SUSPEND, _ if state_format.level(registers[1] & MASK32):
            return None
        case Function.CPU_SUSPEND, (Standby(timed), Return((_, *rest) as values)) if not any(rest):
            return RepeatableAnswer(function, registers, AnswerKind.AFTER_STANDBY, values, is_counted=timed)
        case Function.CPU_SUSPEND, (PowerDown(entry),) if (
            entry.general_registers == GENERAL_ZERO and not entry.vector_registers
        ):
            return RepeatableAnswer(
                function, registers, AnswerKind.AFTER_POWER_DOWN, (entry.x0,), entry, is_counted=True
            )
    return None
