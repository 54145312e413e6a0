"""Answers that can be repeated without the vPSCI, and its books when they were."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.psci import (
    Call,
    Conduit,
    FaultInjector,
    Function,
    Outcome,
    PowerState,
    VirtualPsci,
    get_profile,
    parse_fault,
)
from hil_agent.psci.effects import PowerDown
from hil_agent.psci.idle import AnswerKind, IdleState, RepeatableAnswer, Repeated
from hil_agent.psci.power_state import EXTENDED, ORIGINAL, PowerStateFormat

CPU_SUSPEND32, CPU_SUSPEND = 0x8400_0001, 0xC400_0001
CPU_DEFAULT_SUSPEND, NODE_HW_STATE = 0xC400_000C, 0xC400_000D
STAT_RESIDENCY, STAT_COUNT = 0xC400_0010, 0xC400_0011
ARCH_FEATURES, WORKAROUND_2 = 0x8000_0001, 0x8000_7FFF
STANDBY, POWER_DOWN = (state.power_state(ORIGINAL) for state in IdleState)
CLUSTER = 1 << 24
ENTRY, CONTEXT = 0x4008_0000, 0x1122_3344_5566_7788
NODE_ON, NODE_OFF, NODE_STANDBY = 0, 1, 2


class Guest:
    """Two vCPUs that are on; time passes only when told."""

    def __init__(self, profile: str = "spec", **changes: object) -> None:
        self.now_us = 0
        self.psci = VirtualPsci(
            replace(get_profile(profile), **changes),  # type: ignore[arg-type]
            (0, 1),
            [range(0x4000_0000, 0x6000_0000)],
            now_us=lambda: self.now_us,
        )
        self.psci.power_on(1)
        self.psci.entered(1)

    def ask(self, *registers: int, cpu: int = 0, conduit: Conduit = Conduit.HVC) -> tuple[Call, Outcome]:
        x0, x1, x2, x3 = registers + (0,) * (4 - len(registers))
        call = Call(cpu, conduit, (x0, x1, x2, x3))
        return call, self.psci.call(call)

    def repeatable(self, *registers: int, conduit: Conduit = Conduit.HVC) -> RepeatableAnswer | None:
        return self.psci.repeatable(*self.ask(*registers, conduit=conduit))

    def result(self, *registers: int) -> int | None:
        return self.ask(*registers)[1].result


def answer(guest: Guest, *registers: int) -> RepeatableAnswer:
    """A repeatable answer, whose first wait is over."""
    found = guest.repeatable(*registers)
    assert found is not None
    guest.psci.woke(0)
    return found


# ---------------------------------------------------------------------------------- states


@pytest.mark.parametrize("state_format", [ORIGINAL, EXTENDED], ids=["original", "extended"])
@pytest.mark.parametrize("state", IdleState)
def test_an_idle_state_is_a_valid_one_of_a_single_vcpu(
    state: IdleState, state_format: PowerStateFormat
) -> None:
    power_state = state.power_state(state_format)
    assert (power_state & state_format.reserved, state_format.level(power_state)) == (0, 0)
    assert bool(power_state & state_format.power_down) is (state is IdleState.POWER_DOWN)


@pytest.mark.parametrize("profile", ["spec", "xen", "xen-v16", "kvm", "qemu"])
def test_every_profile_takes_the_call_for_an_idle_state(profile: str) -> None:
    guest = Guest(profile)
    formats = guest.psci.profile.power_state_format
    for state in IdleState:
        assert guest.repeatable(CPU_SUSPEND, state.power_state(formats), ENTRY) is not None
        guest.psci.woke(0)


# ------------------------------------------------------------------------- what is repeated


def test_a_standby_state_returns_success(guest: Guest) -> None:
    found = answer(guest, CPU_SUSPEND, STANDBY)
    assert (found.kind, found.values, found.registers) == (
        AnswerKind.AFTER_STANDBY,
        (0,),
        (CPU_SUSPEND, STANDBY, 0, 0),
    )


def test_on_kvm_x1_to_x3_become_zero_as_well() -> None:
    assert answer(Guest("kvm"), CPU_SUSPEND, STANDBY).values == (0, 0, 0, 0)


def test_a_power_down_state_starts_as_the_vpsci_has_said(guest: Guest) -> None:
    call, outcome = guest.ask(CPU_SUSPEND, POWER_DOWN, ENTRY, CONTEXT)
    found = guest.psci.repeatable(call, outcome)
    assert found is not None
    assert found.entry is not None
    assert outcome.effects == (PowerDown(found.entry),)
    assert (found.kind, found.values, found.entry.pc) == (AnswerKind.AFTER_POWER_DOWN, (CONTEXT,), ENTRY)


def test_where_power_down_is_taken_for_standby_it_is_repeated_as_that() -> None:
    assert answer(Guest("xen"), CPU_SUSPEND, POWER_DOWN, ENTRY).kind is AnswerKind.AFTER_STANDBY


def test_a_feature_is_told_again_at_once(guest: Guest) -> None:
    found = answer(guest, ARCH_FEATURES, WORKAROUND_2)
    assert (found.kind, found.values) == (AnswerKind.AT_ONCE, (1,))


# --------------------------------------------------------------------------- what is not


@pytest.mark.parametrize(
    "registers",
    [
        pytest.param((CPU_SUSPEND, STANDBY | CLUSTER), id="standby of a cluster"),
        pytest.param((CPU_SUSPEND, POWER_DOWN | CLUSTER, ENTRY), id="power-down of a cluster"),
        pytest.param((CPU_SUSPEND, 1 << 31), id="reserved bit"),
        pytest.param((CPU_SUSPEND, POWER_DOWN, 0), id="entry point outside RAM"),
        pytest.param((CPU_DEFAULT_SUSPEND, ENTRY), id="CPU_DEFAULT_SUSPEND"),
        pytest.param((STAT_COUNT, 0, STANDBY), id="statistics"),
    ],
)
def test_other_calls_are_not_repeated(guest: Guest, registers: tuple[int, ...]) -> None:
    assert guest.repeatable(*registers) is None


def test_a_call_through_the_other_conduit_is_not_repeated(guest: Guest) -> None:
    assert guest.repeatable(CPU_SUSPEND, STANDBY, conduit=Conduit.SMC) is None


def test_a_poisoned_entry_state_is_not_repeated() -> None:
    assert Guest(poisons=True).repeatable(CPU_SUSPEND, POWER_DOWN, ENTRY) is None


def test_an_answer_with_a_fault_in_it_is_not_repeated(guest: Guest) -> None:
    faults = FaultInjector(guest.psci, [parse_fault("kind=delay,function=CPU_SUSPEND,time_us=5")])
    call = Call(0, Conduit.HVC, (CPU_SUSPEND, STANDBY, 0, 0))
    assert guest.psci.repeatable(call, faults.call(call)) is None


@pytest.mark.parametrize(
    ("rule", "concerned"),
    [
        ("kind=delay,function=CPU_SUSPEND,cpu=1,nth=9,time_us=5", True),
        ("kind=delay,time_us=5", True),
        ("kind=spurious-wake", True),
        ("kind=lost-power-on", False),
        ("kind=return,function=SYSTEM_SUSPEND,code=DENIED", False),
    ],
)
def test_a_rule_concerns_a_function_if_it_may_ever_fire_on_it(
    guest: Guest, rule: str, concerned: bool
) -> None:
    faults = FaultInjector(guest.psci, [parse_fault(rule)])
    assert faults.concerns(Function.CPU_SUSPEND) is concerned


# ------------------------------------------------------------------------------- the books


@pytest.fixture
def guest() -> Guest:
    return Guest()


def books(guest: Guest) -> tuple[object, ...]:
    return (
        {function: tuple(counts) for function, counts in guest.psci.counts.items()},
        [guest.psci.residency.stays(0, state, 0) for state in (STANDBY, POWER_DOWN)],
        guest.psci.powers,
    )


@given(st.lists(st.tuples(st.sampled_from([STANDBY, POWER_DOWN]), st.integers(0, 10**6)), max_size=20))
def test_the_books_are_as_if_every_call_had_been_asked_for(stays: list[tuple[int, int]]) -> None:
    asked, repeated = Guest(), Guest()
    answers = {}
    for guest in (asked, repeated):
        for state in (STANDBY, POWER_DOWN):
            answers[state] = answer(guest, CPU_SUSPEND, state, ENTRY)
    for state, time_us in stays:
        asked.ask(CPU_SUSPEND, state, ENTRY)
        asked.now_us += time_us
        asked.psci.woke(0)
        repeated.psci.note_repeated([Repeated(0, answers[state], 1, time_us, waits=False)])
    assert books(repeated) == books(asked)


def test_statistics_tell_of_repeated_calls(guest: Guest) -> None:
    found = answer(guest, CPU_SUSPEND, STANDBY)
    guest.psci.note_repeated([Repeated(0, found, 41, 7000, waits=False)])
    assert (guest.result(STAT_COUNT, 0, STANDBY), guest.result(STAT_RESIDENCY, 0, STANDBY)) == (42, 7000)


def test_calls_that_were_repeated_are_told_apart(guest: Guest) -> None:
    found = answer(guest, CPU_SUSPEND, STANDBY)
    guest.psci.note_repeated([Repeated(0, found, 41, 7000, waits=False)])
    assert guest.psci.repeated == 41


@pytest.mark.parametrize(
    ("power_state", "node"), [(STANDBY, NODE_STANDBY), (POWER_DOWN, NODE_OFF)], ids=["standby", "power-down"]
)
def test_a_node_is_seen_idle_while_its_vcpu_waits(guest: Guest, power_state: int, node: int) -> None:
    found = answer(guest, CPU_SUSPEND, power_state, ENTRY)
    seen = []
    for waits in (True, False):
        guest.psci.note_repeated([Repeated(1, found, 0, 0, waits)])
        seen.append(guest.result(NODE_HW_STATE, 1, 0))
    assert seen == [node, NODE_ON]


def test_a_vcpu_in_a_repeated_power_down_state_counts_as_on(guest: Guest) -> None:
    found = answer(guest, CPU_SUSPEND, POWER_DOWN, ENTRY)
    guest.psci.note_repeated([Repeated(0, found, 0, 0, waits=True)])
    assert guest.psci.power(0) is PowerState.ON


def test_a_reset_forgets_who_waits(guest: Guest) -> None:
    found = answer(guest, CPU_SUSPEND, STANDBY)
    guest.psci.note_repeated([Repeated(0, found, 0, 0, waits=True)])
    guest.psci.reset()
    assert not guest.psci.residency.is_asleep(0)


def test_counters_run_on_over_a_reset(guest: Guest) -> None:
    found = answer(guest, CPU_SUSPEND, STANDBY)
    guest.psci.note_repeated([Repeated(0, found, 41, 7000, waits=False)])
    guest.psci.reset()
    assert (guest.psci.counts[Function.CPU_SUSPEND], guest.result(STAT_COUNT, 0, STANDBY)) == ([42, 0], 0)
