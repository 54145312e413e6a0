"""Random guests against a model that knows only who may be on: nothing is lost, nothing impossible."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hil_agent.errors import TargetError
from hil_agent.psci import (
    PSCI_VERSIONS,
    Call,
    Conduit,
    ContextOrder,
    EntryState,
    FaultInjector,
    Function,
    Outcome,
    PowerState,
    ReturnCode,
    VirtualPsci,
    get_profile,
    parse_fault,
    profiles,
)
from hil_agent.psci.effects import (
    Delay,
    PowerDown,
    PowerOff,
    PowerOn,
    Return,
    Standby,
    Suspend,
    SystemOff,
    SystemReset,
    Wake,
)
from hil_agent.psci.functions import FORMS, PSCI_0_1_IDS

MEMORY = range(0x4000_0000, 0x6000_0000)
CPU_SUSPEND = 0xC400_0001
CPU_ON = 0xC400_0003
CPU_OFF = 0x8400_0002
SYSTEM_SUSPEND = 0xC400_000E

_register = st.one_of(
    st.integers(0, 8),
    st.sampled_from([0x100, 0x101, 0x200]),
    st.integers(MEMORY.start, MEMORY.stop).map(lambda address: address & ~3),
    st.integers(0, (1 << 64) - 1),
)
_function_id = st.one_of(
    st.sampled_from([*sorted(FORMS), *PSCI_0_1_IDS, 1, 2]), st.integers(0, (1 << 64) - 1)
)
_fault = st.sampled_from(
    [
        "kind=return,code=DENIED,probability=0.1",
        "kind=delay,time_us=5",
        "kind=spurious-wake",
        "kind=duplicate-wake",
        "kind=reordered-wake",
        "kind=lost-power-on",
        "kind=corrupt,entry_point=1,context_id=1",
        "kind=preparation",
    ]
)


class Guest(RuleBasedStateMachine):
    """Up to 18 vCPUs that call whatever they like, while the outcomes are carried out one by one."""

    @initialize(
        profile=st.sampled_from(list(profiles())),
        version=st.sampled_from([None, *map(str, PSCI_VERSIONS)]),
        poisons=st.booleans(),
        order=st.sampled_from(ContextOrder),
        count=st.integers(1, 18),
        per_cluster=st.integers(1, 16),
        faults=st.one_of(st.just([]), st.lists(_fault, max_size=2)),
    )
    def boot(
        self,
        *,
        profile: str,
        version: str | None,
        poisons: bool,
        order: ContextOrder,
        count: int,
        per_cluster: int,
        faults: list[str],
    ) -> None:
        mpidrs = [cpu // per_cluster << 8 | cpu % per_cluster for cpu in range(count)]
        chosen = replace(get_profile(profile), poisons=poisons)
        self.psci = VirtualPsci(
            chosen.with_version(version) if version else chosen, mpidrs, [MEMORY], context_order=order
        )
        self.faulty = bool(faults)
        self.injector = FaultInjector(self.psci, [parse_fault(fault) for fault in faults])
        self.forget()

    def forget(self) -> None:
        self.on = {0}
        self.starting: set[int] = set()
        self.asleep: set[int] = set()
        self.suspended: Suspend | None = None
        self.held = False

    def can_call(self) -> bool:
        return bool(self.on) and not self.held

    def carry_out(self, cpu: int, outcome: Outcome) -> None:
        *before, last = [effect for effect in outcome.effects if not isinstance(effect, Delay | Wake)]
        assert isinstance(last, Return) == (outcome.result is not None)
        for effect in before:
            match effect:
                case PowerOn(target):
                    assert target not in self.on | self.starting
                    self.starting.add(target)
                case _:
                    assert isinstance(effect, Standby)
        match last:
            case PowerOff():
                self.on.remove(cpu)
            case PowerDown():
                self.on.remove(cpu)
                self.asleep.add(cpu)
            case Suspend():
                self.on.remove(cpu)
                assert not self.on
                assert not self.starting | self.asleep
                self.suspended = last
            case SystemOff() | SystemReset():
                self.psci.reset()
                self.forget()

    def make_call(
        self, cpu: int, registers: tuple[int, int, int, int], conduit: Conduit, immediate: int
    ) -> Outcome:
        outcome = self.injector.call(Call(cpu, conduit, registers, immediate))
        self.carry_out(cpu, outcome)
        return outcome

    @precondition(lambda self: self.can_call())
    @rule(
        data=st.data(),
        registers=st.tuples(_function_id, _register, _register, _register),
        conduit=st.sampled_from(Conduit),
        immediate=st.sampled_from([0, 0, 0, 1]),
    )
    def anything(
        self, data: st.DataObject, registers: tuple[int, int, int, int], conduit: Conduit, immediate: int
    ) -> None:
        self.make_call(data.draw(st.sampled_from(sorted(self.on))), registers, conduit, immediate)

    @precondition(lambda self: self.can_call())
    @rule(data=st.data(), wanted=st.integers(0, 7))
    def race(self, data: st.DataObject, wanted: int) -> None:
        """Every vCPU that is on asks for the same one: exactly one of them gets it, if it was off."""
        target = wanted % len(self.psci.mpidrs)
        was_off = self.psci.power(target) is PowerState.OFF
        registers = (CPU_ON, self.psci.mpidrs[target], MEMORY.start, 0)
        outcomes = [
            self.make_call(cpu, registers, Conduit.HVC, 0)
            for cpu in data.draw(st.permutations(sorted(self.on)))
        ]
        winners = sum(outcome.code is ReturnCode.SUCCESS for outcome in outcomes)
        if not self.psci.profile.offers(Function.CPU_ON):
            assert not winners
        elif not self.faulty:
            assert winners == was_off

    @precondition(lambda self: self.can_call())
    @rule(data=st.data())
    def go_off(self, data: st.DataObject) -> None:
        self.make_call(data.draw(st.sampled_from(sorted(self.on))), (CPU_OFF, 0, 0, 0), Conduit.HVC, 0)

    @precondition(lambda self: self.can_call())
    @rule(data=st.data(), context_id=_register)
    def suspend(self, data: st.DataObject, context_id: int) -> None:
        cpu = data.draw(st.sampled_from(sorted(self.on)))
        alone = self.on | self.starting | self.asleep == {cpu}
        outcome = self.make_call(cpu, (SYSTEM_SUSPEND, MEMORY.start, context_id, 0), Conduit.HVC, 0)
        if not self.faulty:
            offered = self.psci.profile.offers(Function.SYSTEM_SUSPEND)
            refusal = ReturnCode.DENIED if offered else ReturnCode.NOT_SUPPORTED
            assert outcome.code is (None if offered and alone else refusal)

    @precondition(lambda self: self.can_call())
    @rule(data=st.data(), power_state=st.sampled_from([0, 1 << 16, 1 << 24, 1 << 24 | 1 << 16, 1 << 31]))
    def cpu_suspend(self, data: st.DataObject, power_state: int) -> None:
        cpu = data.draw(st.sampled_from(sorted(self.on)))
        self.make_call(cpu, (CPU_SUSPEND, power_state, MEMORY.start, 0), Conduit.HVC, 0)

    @precondition(lambda self: self.on | self.asleep and not self.held)
    @rule(data=st.data())
    def wake(self, data: st.DataObject) -> None:
        """An interrupt comes, be it for one that was not asleep."""
        cpu = data.draw(st.sampled_from(sorted(self.on | self.asleep)))
        self.psci.woke(cpu)
        self.asleep.discard(cpu)
        self.on.add(cpu)

    @precondition(lambda self: not self.suspended and not self.held)
    @rule()
    def hold(self) -> None:
        self.psci.suspend_by_host()
        self.held = True

    @precondition(lambda self: self.held)
    @rule()
    def let_go(self) -> None:
        assert self.psci.resume() is None
        self.psci.resumed()
        self.held = False

    @precondition(lambda self: self.starting and not self.held)
    @rule(data=st.data(), fails=st.booleans())
    def start(self, data: st.DataObject, fails: bool) -> None:
        cpu = data.draw(st.sampled_from(sorted(self.starting)))
        self.starting.remove(cpu)
        if fails:
            self.psci.power_on_failed(cpu)
        else:
            self.psci.entered(cpu)
            self.on.add(cpu)

    @precondition(lambda self: self.suspended)
    @rule(cleared=st.booleans(), entry_point=st.none() | _register)
    def resume(self, cleared: bool, entry_point: int | None) -> None:
        assert self.suspended is not None
        context = self.suspended.context
        self.psci.edit_context(entry_point=entry_point)
        edited = context.entry_point if entry_point is None else entry_point
        expected: EntryState | None = self.psci.profile.entry_state(edited, context.context_id)
        if cleared:
            self.psci.clear_context()
            expected = None
        assert self.resume_with_patience() == expected
        self.psci.resumed()
        self.on.add(context.cpu)
        self.suspended = None

    def resume_with_patience(self) -> EntryState | None:
        while True:
            failures = self.psci.preparations_to_fail
            try:
                return self.psci.resume()
            except TargetError:
                assert self.psci.preparations_to_fail < failures

    @rule()
    def reset(self) -> None:
        self.psci.reset()
        self.forget()

    @invariant()
    def power_is_as_modelled(self) -> None:
        expected = [PowerState.OFF] * len(self.psci.mpidrs)
        for cpu in self.on:
            expected[cpu] = PowerState.ON
        for cpu in self.starting:
            expected[cpu] = PowerState.ON_PENDING
        for cpu in self.asleep:
            expected[cpu] = PowerState.SUSPENDED
        if self.suspended:
            expected[self.suspended.context.cpu] = PowerState.SUSPENDED
        assert list(self.psci.powers) == expected

    @invariant()
    def there_is_a_context_exactly_while_a_call_has_suspended_the_system(self) -> None:
        assert self.psci.context == (self.suspended.context if self.suspended else None)
        assert self.psci.suspended == bool(self.suspended or self.held)


TestGuest = Guest.TestCase
TestGuest.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
