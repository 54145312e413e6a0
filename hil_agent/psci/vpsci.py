"""The vPSCI: what answers a guest's calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from secrets import token_bytes
from typing import NamedTuple

from hil_agent.errors import InternalError, StateError, TargetError
from hil_agent.psci.call import Call, Conduit
from hil_agent.psci.effects import InjectUndefined, Outcome, PassOn, Return
from hil_agent.psci.entry import EntryState
from hil_agent.psci.functions import FORMS, MASK32, MASK64, Form, Function, ReturnCode, Width
from hil_agent.psci.idle import AnswerKind, RepeatableAnswer, Repeated, repeatable
from hil_agent.psci.profile import Implementation, Profile, Reaction, Request
from hil_agent.psci.residency import Stays
from hil_agent.psci.state import ContextOrder, PowerState, SystemState, monotonic_us
from hil_agent.psci.version import V0_1

_NOT_SUPPORTED = ReturnCode.NOT_SUPPORTED & MASK64

_PASSED_ON = Outcome((PassOn(),))

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
    `power_on_failed`, `woke` and `resumed`. It belongs to one thread.

    Args:
        profile: whose vPSCI is imitated.
        mpidrs: affinity fields of each vCPU's MPIDR_EL1, by index; bit 31 and the like are not included.
        memory: the guest's RAM, as ranges of physical addresses.
        conduit: what the guest is told to call with.
        legacy_ids: the function IDs of PSCI 0.1 in the guest's device tree, if it has others than the
            profile.
        context_order: what a suspend does first.
        pass_through: what the firmware below answers instead; None stands for IDs without a name.
        now_us: the time in microseconds, from whatever start.
        random_bytes: as many random bytes as it is asked for.
    """

    def __init__(
        self,
        profile: Profile,
        mpidrs: Sequence[int],
        memory: Sequence[range],
        conduit: Conduit = Conduit.HVC,
        *,
        legacy_ids: Mapping[int, Function] | None = None,
        context_order: ContextOrder = ContextOrder.STATE_FIRST,
        pass_through: frozenset[Function | None] = frozenset(),
        now_us: Callable[[], int] = monotonic_us,
        random_bytes: Callable[[int], bytes] = token_bytes,
    ) -> None:
        super().__init__(
            mpidrs, memory, context_order=context_order, now_us=now_us, random_bytes=random_bytes
        )
        self.profile = profile
        self.conduit = conduit
        self._routes = _routes(profile, profile.legacy_ids if legacy_ids is None else legacy_ids)
        self._pass_through = pass_through
        self._not_supported = profile.answer(ReturnCode.NOT_SUPPORTED)
        self._on_immediate = _REACTIONS[profile.on_immediate]
        self._on_other_conduit = _REACTIONS[profile.on_other_conduit]
        self._counts: dict[Function | None, list[int]] = {}
        self._repeated = 0

    @property
    def repeated(self) -> int:
        """How many of the calls that are counted were answered without it, as far as it was told."""
        return self._repeated

    @property
    def counts(self) -> Mapping[Function | None, Sequence[int]]:
        """How often each function was called, by vCPU; calls to IDs without a name are under None."""
        return self._counts

    def call(self, call: Call) -> Outcome:
        """The answer to ``call``; the state is as after it when this returns.

        Raises:
            InternalError: the caller is not on, or held, so cannot have called.
        """
        route = self._enter(call)
        if self._on_other_conduit and call.conduit is not self.conduit:
            return self._on_other_conduit
        if self._on_immediate and call.immediate:
            return self._on_immediate
        if self._pass_through and (route.form.function if route else call.function) in self._pass_through:
            return _PASSED_ON
        if route is None:
            return self._not_supported
        form, implementation, mask = route
        _, x1, x2, x3 = call.registers
        return implementation(Request(self.profile, self, call.cpu, form, (x1 & mask, x2 & mask, x3 & mask)))

    def refuse(self, call: Call, code: ReturnCode) -> Outcome:
        """Answer ``call`` with ``code`` whatever it is; it is counted, and nothing else happens.

        Raises:
            InternalError: as for `call`.
        """
        self._enter(call)
        return self.profile.answer(code)

    def function(self, call: Call) -> Function | None:
        """What ``call`` is a call of, be it by an ID of PSCI 0.1; None if it has no name here."""
        route = self._route(call)
        return route.form.function if route else call.function

    def repeatable(self, call: Call, outcome: Outcome) -> RepeatableAnswer | None:
        """The answer to ``call``, whose outcome it was, if it may be repeated; None if it may not."""
        if call.conduit is not self.conduit:
            return None
        return repeatable(self.function(call), call, outcome, self.profile.power_state_format)

    def note_repeated(self, answers: Iterable[Repeated]) -> None:
        """Note what was answered without it since the last time: the books are as if it had been asked."""
        asleep = {}
        for each in answers:
            cpu, answer = each.cpu, each.answer
            self._count(answer.function, cpu, each.count)
            self._repeated += each.count
            if answer.is_counted:
                self.residency.add(cpu, answer.power_state, Stays(each.count, each.time_us))
                if each.waits:
                    asleep[cpu] = answer.kind is AnswerKind.AFTER_POWER_DOWN
        self.residency.see_asleep(asleep)

    def resume(self) -> EntryState | None:
        """How the suspended guest is to go on; changes nothing, which `resumed` does.

        Returns:
            The state at the entry point, for the vCPU `suspended_cpu`. None if there is no context: then
            that vCPU goes on after its call as it was, and where there is no such vCPU all go on where
            they are (Xen, arch_domain_resume).

        Raises:
            StateError: the system is not suspended.
            TargetError: the context could not be prepared; it is kept, so that it can be tried again.
        """
        self.require_suspended()
        context = self.context
        if context is None:
            return None
        if self.profile.prepares_at_resume and not self.prepare_context():
            raise TargetError(
                f"the context of vCPU {context.cpu} could not be prepared", hint="it is kept: resume again"
            )
        return self.profile.entry_state(context.entry_point, context.context_id)

    def resume_as_is(self, code: ReturnCode = ReturnCode.SUCCESS) -> Return:
        """How the vCPU `suspended_cpu` returns from its call with ``code``, as if it had not suspended.

        Like `resume` it changes nothing.

        Raises:
            StateError: the system is not suspended, or no vCPU has made a call for it.
        """
        self.require_suspended()
        if self.suspended_cpu is None:
            raise StateError(
                "the host has suspended the guest: there is no call to return from", hint="resume it as usual"
            )
        return self.profile.returning(code)

    def _enter(self, call: Call) -> _Route | None:
        cpu = call.cpu
        if self.power(cpu) is not PowerState.ON or self.suspended:
            held = "held by the host" if self.suspended else self.power(cpu).value
            raise InternalError(f"vCPU {cpu} called {call.name} while {held}")
        route = self._route(call)
        function = route.form.function if route else call.function
        self._count(function, cpu, 1)
        return route

    def _count(self, function: Function | None, cpu: int, calls: int) -> None:
        counts = self._counts.get(function)
        if counts is None:
            counts = self._counts[function] = [0] * len(self.mpidrs)
        counts[cpu] += calls

    def _route(self, call: Call) -> _Route | None:
        x0 = call.registers[0]
        return self._routes.get(x0 if self.profile.reads_whole_x0 else x0 & MASK32)


def _routes(profile: Profile, legacy_ids: Mapping[int, Function]) -> dict[int, _Route]:
    routes = {
        function_id: _Route(
            form,
            profile.functions[form.function].as_of(profile.psci_version),
            _argument_mask(profile, form),
        )
        for function_id, form in FORMS.items()
        if profile.offers(form.function)
    }
    if profile.answers_legacy_ids or profile.psci_version == V0_1:
        for function_id, function in legacy_ids.items():
            if implementation := profile.legacy_functions.get(function):
                routes[function_id] = _Route(Form(function, Width.SMC64), implementation, MASK64)
    return routes


def _argument_mask(profile: Profile, form: Form) -> int:
    narrow = form.width is Width.SMC32 and form.function not in profile.reads_whole_arguments
    return MASK32 if narrow else MASK64
