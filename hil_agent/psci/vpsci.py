"""The vPSCI: what answers a guest's calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hil_agent.errors import InternalError
from hil_agent.psci.call import Call, Conduit
from hil_agent.psci.effects import InjectUndefined, Outcome, Return
from hil_agent.psci.entry import EntryState
from hil_agent.psci.functions import FORMS, MASK32, MASK64, Form, Function, ReturnCode, Width
from hil_agent.psci.profile import Implementation, Profile, Reaction, Request
from hil_agent.psci.state import PowerState, SystemState

_NOT_SUPPORTED = ReturnCode.NOT_SUPPORTED & MASK64

_REACTIONS = {
    Reaction.ANSWER: None,
    Reaction.REFUSE: Outcome((Return((_NOT_SUPPORTED,)),), _NOT_SUPPORTED),
    Reaction.UNDEFINED: Outcome((InjectUndefined(),)),
}


class _Route(NamedTuple):
    """What a function ID leads to, worked out once so that a call is answered quickly."""

    form: Form
    implementation: Implementation
    argument_mask: int


class VirtualPsci(SystemState):
    """The firmware of one guest: turns each call into an outcome, and keeps power and context.

    It touches nothing outside itself. Whoever carries out the outcomes reports back with `entered`,
    `power_on_failed` and `resumed`. It belongs to one thread.

    Args:
        profile: whose vPSCI is imitated.
        mpidrs: affinity fields of each vCPU's MPIDR_EL1, by index; bit 31 and the like are not included.
        memory: the guest's RAM, as ranges of physical addresses.
        conduit: what the guest is told to call with.
    """

    def __init__(
        self, profile: Profile, mpidrs: Sequence[int], memory: Sequence[range], conduit: Conduit = Conduit.HVC
    ) -> None:
        super().__init__(mpidrs, memory)
        self.profile = profile
        self.conduit = conduit
        self._routes = {
            function_id: _Route(form, profile.functions[form.function], _argument_mask(profile, form))
            for function_id, form in FORMS.items()
            if form.function in profile.functions
        }
        self._not_supported = profile.answer(ReturnCode.NOT_SUPPORTED)
        self._on_immediate = _REACTIONS[profile.on_immediate]
        self._on_other_conduit = _REACTIONS[profile.on_other_conduit]
        self._counts: dict[Function | None, list[int]] = {}

    @property
    def counts(self) -> Mapping[Function | None, Sequence[int]]:
        """How often each function was called, by vCPU; calls to IDs without a name are under None."""
        return self._counts

    def call(self, call: Call) -> Outcome:
        """The answer to ``call``; the state is as after it when this returns.

        Raises:
            InternalError: the caller is not on, so cannot have called.
        """
        if self.power(call.cpu) is not PowerState.ON:
            raise InternalError(f"vCPU {call.cpu} called {call.name} while {self.power(call.cpu).value}")
        self._count(call)
        if self._on_other_conduit and call.conduit is not self.conduit:
            return self._on_other_conduit
        if self._on_immediate and call.immediate:
            return self._on_immediate
        x0, x1, x2, x3 = call.registers
        route = self._routes.get(x0 if self.profile.reads_whole_x0 else x0 & MASK32)
        if route is None:
            return self._not_supported
        form, implementation, mask = route
        return implementation(Request(self.profile, self, call.cpu, form, (x1 & mask, x2 & mask, x3 & mask)))

    def resume(self) -> EntryState | None:
        """How the vCPU `suspended_cpu` is to go on; changes nothing, which `resumed` does.

        Returns:
            The state at the entry point; None if there is no context any more: it goes on after its call,
            as it was (Xen, arch_domain_resume).

        Raises:
            StateError: the system is not suspended.
        """
        self.require_suspended()
        context = self.context
        return self.profile.entry_state(context.entry_point, context.context_id) if context else None

    def _count(self, call: Call) -> None:
        counts = self._counts.get(call.function)
        if counts is None:
            counts = self._counts[call.function] = [0] * len(self.mpidrs)
        counts[call.cpu] += 1


def _argument_mask(profile: Profile, form: Form) -> int:
    narrow = form.width is Width.SMC32 and form.function not in profile.reads_whole_arguments
    return MASK32 if narrow else MASK64
