"""A profile: whose vPSCI is imitated, as data.

A profile lists the functions that it answers. Each has checks, run in the order in which they are
listed, and an action that is taken when all have passed. The shared ones are in `checks`, `actions`,
`queries`, `arch` and `trng`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias

from hil_agent.errors import InternalError
from hil_agent.psci.effects import Effect, Outcome, Return
from hil_agent.psci.entry import PSTATE_DAIF, PSTATE_EL1H, EntryState
from hil_agent.psci.functions import MASK64, PSCI_0_1_IDS, Form, Function, ReturnCode
from hil_agent.psci.poison import poison
from hil_agent.psci.power_state import ORIGINAL, PowerStateFormat
from hil_agent.psci.state import SystemState
from hil_agent.psci.version import V0_2, V1_0, Version, parse_psci_version

_ENTRY_POINT_ARGUMENT = {
    Function.CPU_SUSPEND: 1,
    Function.CPU_ON: 1,
    Function.CPU_DEFAULT_SUSPEND: 0,
    Function.SYSTEM_SUSPEND: 0,
}
"""Which argument is the entry point; the context ID is the one after it."""

_CODE_SINCE = {
    ReturnCode.ALREADY_ON: V0_2,
    ReturnCode.ON_PENDING: V0_2,
    ReturnCode.INVALID_ADDRESS: V1_0,
}
"""Return codes that were INVALID_PARAMETERS before a version."""


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

    @property
    def entry_state(self) -> EntryState:
        """How a vCPU starts at the entry point that is asked for."""
        return self.profile.entry_state(self.entry_point, self.context_id)

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
    """How one function is answered: the first check that refuses decides, else the action.

    Attributes:
        action: what is done.
        checks: reasons not to do it.
        codes: return codes that are given in place of those of the checks.
    """

    action: Action
    checks: tuple[Check, ...] = ()
    codes: Mapping[ReturnCode, ReturnCode] = field(default_factory=dict)

    def __call__(self, request: Request) -> Outcome:
        """The outcome of ``request``."""
        for check in self.checks:
            if (refusal := check(request)) is not None:
                return request.profile.answer(self.codes.get(refusal, refusal))
        return self.action(request)

    def as_of(self, version: Version) -> Implementation:
        """The same with no return code that came after a version of PSCI."""
        return replace(
            self,
            codes={
                code: ReturnCode.INVALID_PARAMETERS for code, since in _CODE_SINCE.items() if since > version
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Whose vPSCI is imitated.

    Attributes:
        name: what a user calls it.
        summary: one line on what it imitates.
        psci_version: what PSCI_VERSION answers; functions that are newer are not offered.
        functions: what is answered, and how; everything else is NOT_SUPPORTED.
        legacy_functions: what is answered under the IDs of PSCI 0.1.
        legacy_ids: those IDs, unless the guest's device tree has others.
        answers_legacy_ids: whether they are answered beside those of later versions, too.
        entry_registers: system registers that are set at an entry point; others keep their values.
        entry_vectors: FP and SIMD registers that are.
        kept_registers: system, FP and SIMD registers that a vCPU keeps while it is off.
        propagates_endianness: whether a vCPU starts in the endianness of the one that made the call.
        poisons: whether registers that PSCI leaves undefined are poisoned at an entry point.
        arch_features: what SMCCC_ARCH_FEATURES answers, by function.
        mitigations: the same, of workarounds that are offered on CPUs which need them.
        power_state_format: how CPU_SUSPEND reads its power state.
        prepares_at_resume: whether a resume prepares the vCPU's context, and can fail.
        mpidr_mask: which bits of an MPIDR argument count in the search for a vCPU.
        reports_on_pending: whether a vCPU that has not yet started is told apart from one that is on.
        reads_whole_x0: whether garbage in the upper half of x0 makes a call unknown.
        reads_whole_arguments: functions whose SMC32 form takes arguments with their upper halves.
        results: how many registers, from x0 on, an answer writes at least; those without a value become
            zero.
        on_immediate: what is done with a call whose instruction has an immediate other than 0.
        on_other_conduit: what is done with a call through the conduit that the guest was not told to use.
        entry_pstate: PSTATE at an entry point, in the layout of SPSR_ELx.
    """

    name: str
    summary: str
    psci_version: Version
    functions: Mapping[Function, Implementation]
    legacy_functions: Mapping[Function, Implementation] = field(default_factory=dict)
    legacy_ids: Mapping[int, Function] = field(default_factory=lambda: PSCI_0_1_IDS)
    answers_legacy_ids: bool = False
    entry_registers: Mapping[str, int]
    entry_vectors: Mapping[str, int] = field(default_factory=dict)
    kept_registers: tuple[str, ...] = ()
    propagates_endianness: bool = False
    poisons: bool = False
    arch_features: Mapping[Function, int] = field(default_factory=dict)
    mitigations: Mapping[Function, int] = field(default_factory=dict)
    power_state_format: PowerStateFormat = ORIGINAL
    prepares_at_resume: bool = False
    mpidr_mask: int = MASK64
    reports_on_pending: bool = False
    reads_whole_x0: bool = False
    reads_whole_arguments: frozenset[Function] = frozenset()
    results: int = 1
    on_immediate: Reaction = Reaction.ANSWER
    on_other_conduit: Reaction = Reaction.ANSWER
    entry_pstate: int = PSTATE_EL1H | PSTATE_DAIF

    def with_version(self, version: str) -> Profile:
        """This profile as it would be at another version of PSCI, such as ``1.0``.

        Raises:
            UsageError: there is no such version.
        """
        return replace(self, psci_version=parse_psci_version(version))

    def with_mitigations(self) -> Profile:
        """This profile on a CPU that needs its workarounds."""
        return replace(self, arch_features=MappingProxyType({**self.arch_features, **self.mitigations}))

    def offers(self, function: Function) -> bool:
        """Whether ``function`` is answered."""
        return function in self.functions and (function.since is None or function.since <= self.psci_version)

    def answer(self, *values: int, first: tuple[Effect, ...] = ()) -> Outcome:
        """The caller goes on, after the effects ``first``, with ``values`` in x0, x1, ...

        Negative values are sign-extended to 64 bits.
        """
        answered = _answer(values, self.results)
        return Outcome((*first, *answered.effects), answered.result) if first else answered

    def returning(self, *values: int) -> Return:
        """The effect that lets a caller go on with ``values`` in x0, x1, ..."""
        return _returning(values, self.results)

    def entry_state(self, entry_point: int, context_id: int) -> EntryState:
        """How a vCPU starts at ``entry_point``: after CPU_ON, a power-down state, or a resume."""
        entry = EntryState(
            entry_point,
            context_id,
            self.entry_pstate,
            self.entry_registers,
            vector_registers=self.entry_vectors,
            inherits_endianness=self.propagates_endianness,
        )
        return poison(entry) if self.poisons else entry


@lru_cache(maxsize=256)
def _returning(values: tuple[int, ...], results: int) -> Return:
    return Return(tuple(value & MASK64 for value in values) + (0,) * (results - len(values)))


@lru_cache(maxsize=256)
def _answer(values: tuple[int, ...], results: int) -> Outcome:
    """Kept, for a guest asks the same again and again, and building it is most of what an answer takes."""
    returned = _returning(values, results)
    return Outcome((returned,), returned.values[0])
