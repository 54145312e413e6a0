"""Random guests against a model that knows only who may be on: nothing is lost, nothing impossible."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hil_agent.psci import (
    Call,
    Conduit,
    EntryState,
    Function,
    Outcome,
    PowerState,
    ReturnCode,
    VirtualPsci,
    get_profile,
    profiles,
)
from hil_agent.psci.effects import (
    PowerOff,
    PowerOn,
    Return,
    Standby,
    Suspend,
    SystemOff,
    SystemReset,
)
from hil_agent.psci.functions import FORMS

MEMORY = range(0x4000_0000, 0x6000_0000)
CPU_ON = 0xC400_0003
CPU_OFF = 0x8400_0002
SYSTEM_SUSPEND = 0xC400_000E

_register = st.one_of(
    st.integers(0, 8),
    st.integers(MEMORY.start, MEMORY.stop).map(lambda address: address & ~3),
    st.integers(0, (1 << 64) - 1),
)
_function_id = st.one_of(st.sampled_from(sorted(FORMS)), st.integers(0, (1 << 64) - 1))


class Guest(RuleBasedStateMachine):
    """Up to 8 vCPUs that call whatever they like, while the outcomes are carried out one by one."""

    @initialize(
        profile=st.sampled_from(list(profiles())), count=st.integers(1, 8), per_cluster=st.integers(1, 8)
    )
    def boot(self, profile: str, count: int, per_cluster: int) -> None:
        mpidrs = [cpu // per_cluster << 8 | cpu % per_cluster for cpu in range(count)]
        self.psci = VirtualPsci(get_profile(profile), mpidrs, [MEMORY])
        self.forget()

    def forget(self) -> None:
        self.on = {0}
        self.starting: set[int] = set()
        self.suspended: Suspend | None = None

    def carry_out(self, cpu: int, outcome: Outcome) -> None:
        *before, last = outcome.effects
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
            case Suspend():
                self.on.remove(cpu)
                assert not self.on
                assert not self.starting
                self.suspended = last
            case SystemOff() | SystemReset():
                self.psci.reset()
                self.forget()

    def make_call(
        self, cpu: int, registers: tuple[int, int, int, int], conduit: Conduit, immediate: int
    ) -> Outcome:
        outcome = self.psci.call(Call(cpu, conduit, registers, immediate))
        self.carry_out(cpu, outcome)
        return outcome

    @precondition(lambda self: self.on)
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

    @precondition(lambda self: self.on)
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
        assert sum(outcome.code is ReturnCode.SUCCESS for outcome in outcomes) == was_off

    @precondition(lambda self: self.on)
    @rule(data=st.data())
    def go_off(self, data: st.DataObject) -> None:
        self.make_call(data.draw(st.sampled_from(sorted(self.on))), (CPU_OFF, 0, 0, 0), Conduit.HVC, 0)

    @precondition(lambda self: self.on)
    @rule(data=st.data(), context_id=_register)
    def suspend(self, data: st.DataObject, context_id: int) -> None:
        cpu = data.draw(st.sampled_from(sorted(self.on)))
        alone = self.on | self.starting == {cpu}
        outcome = self.make_call(cpu, (SYSTEM_SUSPEND, MEMORY.start, context_id, 0), Conduit.HVC, 0)
        if Function.SYSTEM_SUSPEND not in self.psci.profile.functions:
            assert outcome.code is ReturnCode.NOT_SUPPORTED
        else:
            assert outcome.code is (None if alone else ReturnCode.DENIED)

    @precondition(lambda self: self.starting)
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
    @rule(cleared=st.booleans())
    def resume(self, cleared: bool) -> None:
        assert self.suspended is not None
        context = self.suspended.context
        expected: EntryState | None = self.psci.profile.entry_state(context.entry_point, context.context_id)
        if cleared:
            self.psci.clear_context()
            expected = None
        assert self.psci.resume() == expected
        self.psci.resumed()
        self.on.add(context.cpu)
        self.suspended = None

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
        if self.suspended:
            expected[self.suspended.context.cpu] = PowerState.SUSPENDED
        assert list(self.psci.powers) == expected

    @invariant()
    def there_is_a_context_exactly_while_suspended(self) -> None:
        assert self.psci.context == (self.suspended.context if self.suspended else None)


TestGuest = Guest.TestCase
TestGuest.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
