"""A profile: whose vPSCI is imitated, as data.

A profile lists the functions that it answers. Each has checks, run in the order in which they are
listed, and an action that is taken when all have passed. The shared ones are in `checks` and `actions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple, TypeAlias

from hil_agent.errors import InternalError
from hil_agent.psci.effects import Effect, Outcome, Return
from hil_agent.psci.entry import PSTATE_DAIF, PSTATE_EL1H, EntryState
from hil_agent.psci.functions import MASK64, Form, Function, ReturnCode
from hil_agent.psci.state import SystemState

_ENTRY_POINT_ARGUMENT = {
    Function.CPU_SUSPEND: 1,
    Function.CPU_ON: 1,
    Function.CPU_DEFAULT_SUSPEND: 0,
    Function.SYSTEM_SUSPEND: 0,
}
"""Which argument is the entry point; the context ID is the one after it."""


class Version(NamedTuple):
    """A version as PSCI_VERSION and SMCCC_VERSION encode it."""

    major: int
    minor: int

    @property
    def encoded(self) -> int:
        """Major version in bits [31:16], minor in [15:0]."""
        return self.major << 16 | self.minor


class Reaction(Enum):
    """What a profile does with a call that is not made the way its guests are told to make it."""

    ANSWER = auto()
    """Answer it like any other."""
    REFUSE = auto()
    """x0 becomes NOT_SUPPORTED, whatever was called."""
    UNDEFINED = auto()
    """The caller takes an Undefined Instruction exception."""


@dataclass(frozen=True, slots=True)
class Request:
    """A call to a function that the profile answers, as checks and actions see it.

    Attributes:
        profile: the profile that answers.
        system: the state that the answer depends on and may change.
        cpu: index of the calling vCPU.
        form: function and width.
        args: x1 to x3, narrowed to 32 bits where the profile does so.
    """

    profile: Profile
    system: SystemState
    cpu: int
    form: Form
    args: tuple[int, int, int]

    @property
    def entry_point(self) -> int:
        """The entry point address; only of a function that takes one."""
        return self.args[_ENTRY_POINT_ARGUMENT[self.form.function]]

    @property
    def context_id(self) -> int:
        """The context ID; only of a function that takes one."""
        return self.args[_ENTRY_POINT_ARGUMENT[self.form.function] + 1]

    def find_target(self) -> int | None:
        """Index of the vCPU that the first argument names by its MPIDR; None if there is none."""
        return self.system.find(self.args[0], self.profile.mpidr_mask)

    @property
    def target(self) -> int:
        """Index of the vCPU that the first argument names, once a check has found it present."""
        target = self.find_target()
        if target is None:
            raise InternalError(f"{self.form.function.name}: MPIDR {self.args[0]:#x} was not checked")
        return target


Check: TypeAlias = Callable[[Request], ReturnCode | None]
"""Finds a reason to refuse a request, or none."""

Action: TypeAlias = Callable[[Request], Outcome]
"""Grants a request: changes the state and says what must happen."""


@dataclass(frozen=True, slots=True)
class Implementation:
    """How one function is answered: the first check that refuses decides, else the action."""

    action: Action
    checks: tuple[Check, ...] = ()

    def __call__(self, request: Request) -> Outcome:
        """The outcome of ``request``."""
        for check in self.checks:
            if (refusal := check(request)) is not None:
                return request.profile.answer(refusal)
        return self.action(request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Whose vPSCI is imitated.

    Attributes:
        name: what a user calls it.
        summary: one line on what it imitates.
        psci_version: what PSCI_VERSION answers.
        functions: what is answered, and how; everything else is NOT_SUPPORTED.
        entry_registers: system registers that are set at an entry point; others keep their values.
        arch_features: what SMCCC_ARCH_FEATURES says is there.
        mpidr_mask: which bits of an MPIDR argument count in the search for a vCPU.
        reports_on_pending: whether a vCPU that has not yet started is told apart from one that is on.
        reads_whole_x0: whether garbage in the upper half of x0 makes a call unknown.
        reads_whole_arguments: functions whose SMC32 form takes arguments with their upper halves.
        results: how many registers, from x0 on, an answer writes; those after x0 become zero.
        on_immediate: what is done with a call whose instruction has an immediate other than 0.
        on_other_conduit: what is done with a call through the conduit that the guest was not told to use.
        entry_pstate: PSTATE at an entry point, in the layout of SPSR_ELx.
    """

    name: str
    summary: str
    psci_version: Version
    functions: Mapping[Function, Implementation]
    entry_registers: Mapping[str, int]
    arch_features: frozenset[Function] = frozenset()
    mpidr_mask: int = MASK64
    reports_on_pending: bool = False
    reads_whole_x0: bool = False
    reads_whole_arguments: frozenset[Function] = frozenset()
    results: int = 1
    on_immediate: Reaction = Reaction.ANSWER
    on_other_conduit: Reaction = Reaction.ANSWER
    entry_pstate: int = PSTATE_EL1H | PSTATE_DAIF

    def answer(self, value: int, *before: Effect) -> Outcome:
        """The caller goes on, after the effects ``before``, with ``value`` sign-extended to 64 bits in x0."""
        x0 = value & MASK64
        return Outcome((*before, Return((x0,) + (0,) * (self.results - 1))), x0)

    def entry_state(self, entry_point: int, context_id: int) -> EntryState:
        """How a vCPU starts at ``entry_point``, after CPU_ON as after a resume."""
        return EntryState(entry_point, context_id, self.entry_pstate, self.entry_registers)
