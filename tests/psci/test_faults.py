from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_agent.errors import FileError, UsageError
from hil_agent.psci import (
    Call,
    Conduit,
    FaultInjector,
    FaultPlan,
    Outcome,
    PowerState,
    ReturnCode,
    VirtualPsci,
    get_profile,
    parse_fault,
)
from hil_agent.psci.effects import Delay, PowerDown, PowerOn, Return, Standby, Suspend, Wake
from hil_agent.yamlmodel import load_yaml_model

VERSION = 0x8400_0000
CPU_SUSPEND = 0xC400_0001
CPU_ON = 0xC400_0003
SYSTEM_SUSPEND = 0xC400_000E
ENTRY = 0x4008_0000
POWER_DOWN = 1 << 16


class Guest:
    def __init__(self, *faults: str, profile: str = "xen", seed: int = 0) -> None:
        self.psci = VirtualPsci(get_profile(profile), (0, 1), [range(0x4000_0000, 0x6000_0000)])
        self.injector = FaultInjector(self.psci, [parse_fault(fault) for fault in faults], seed)

    def call(self, *registers: int, cpu: int = 0) -> Outcome:
        x0, x1, x2, x3 = registers + (0,) * (4 - len(registers))
        return self.injector.call(Call(cpu, Conduit.HVC, (x0, x1, x2, x3)))


# -------------------------------------------------------------------------------- when it fires


def test_without_rules_nothing_is_different() -> None:
    assert Guest().call(VERSION) == Outcome((Return((0x10001,)),), 0x10001)


def test_the_nth_call_of_a_function_is_hit() -> None:
    guest = Guest("kind=return,function=PSCI_VERSION,nth=3,code=DENIED")
    assert [guest.call(VERSION).fault for _ in range(5)] == [None, None, "return", None, None]


def test_only_the_calls_that_it_is_about_count() -> None:
    guest = Guest("kind=return,function=SYSTEM_SUSPEND,nth=1,code=DENIED")
    guest.call(VERSION)
    assert guest.call(SYSTEM_SUSPEND, ENTRY).code is ReturnCode.DENIED


def test_a_rule_may_be_about_one_vcpu() -> None:
    guest = Guest("kind=return,cpu=1,code=DENIED")
    guest.psci.power_on(1)
    guest.psci.entered(1)
    assert [guest.call(VERSION, cpu=cpu).code for cpu in (0, 1)] == [ReturnCode.SUCCESS, ReturnCode.DENIED]


def test_a_rule_is_about_calls_by_ids_of_0_1_too() -> None:
    guest = Guest("kind=return,function=CPU_ON,code=DENIED")
    assert guest.call(2, 1, ENTRY).code is ReturnCode.DENIED


def test_the_first_rule_that_fires_is_the_one() -> None:
    guest = Guest("kind=return,nth=2,code=DENIED,name=a", "kind=return,code=BUSY,name=b")
    assert [guest.call(VERSION).fault for _ in range(3)] == ["b", "a", "b"]


@settings(max_examples=20)
@given(st.integers(), st.floats(0.05, 0.95))
def test_a_seed_repeats_itself(seed: int, probability: float) -> None:
    runs = []
    for _ in range(2):
        guest = Guest(f"kind=return,code=DENIED,probability={probability}", seed=seed)
        runs.append([guest.call(VERSION).fault for _ in range(50)])
    assert runs[0] == runs[1]


def test_a_probability_is_about_kept() -> None:
    guest = Guest("kind=return,code=DENIED,probability=0.25")
    fired = sum(guest.call(VERSION).fault is not None for _ in range(2000))
    assert 400 < fired < 600


def test_another_seed_decides_otherwise() -> None:
    runs = []
    for seed in (1, 2):
        guest = Guest("kind=return,code=DENIED,probability=0.5", seed=seed)
        runs.append([guest.call(VERSION).fault for _ in range(50)])
    assert runs[0] != runs[1]


# --------------------------------------------------------------------------------- what it does


def test_a_call_that_is_refused_does_nothing_else_but_counts() -> None:
    guest = Guest("kind=return,code=INTERNAL_FAILURE")
    outcome = guest.call(CPU_ON, 1, ENTRY)
    counted = sum(map(sum, guest.psci.counts.values()))
    assert (outcome.code, guest.psci.power(1), counted) == (ReturnCode.INTERNAL_FAILURE, PowerState.OFF, 1)


def test_a_refused_suspend_can_be_repeated_with_success() -> None:
    guest = Guest("kind=return,function=SYSTEM_SUSPEND,nth=1,code=DENIED")
    guest.call(SYSTEM_SUSPEND, ENTRY)
    assert guest.call(SYSTEM_SUSPEND, ENTRY).fault is None


def test_a_delay_comes_before_the_answer() -> None:
    outcome = Guest("kind=delay,time_us=500").call(VERSION)
    assert outcome.effects == (Delay(500), Return((0x10001,)))


@pytest.mark.parametrize(
    ("kind", "effects"),
    [
        ("spurious-wake", [Suspend, Wake]),
        ("duplicate-wake", [Suspend, Wake, Wake]),
        ("reordered-wake", [Wake, Suspend]),
    ],
)
def test_a_suspend_is_woken(kind: str, effects: list[type]) -> None:
    outcome = Guest(f"kind={kind}").call(SYSTEM_SUSPEND, ENTRY)
    assert ([type(effect) for effect in outcome.effects], outcome.fault) == (effects, kind)


def test_a_standby_is_woken_before_it_returns() -> None:
    outcome = Guest("kind=spurious-wake,after_us=7").call(CPU_SUSPEND)
    assert outcome.effects == (Standby(), Wake(7), Return((0,)))


def test_a_power_down_is_woken() -> None:
    outcome = Guest("kind=spurious-wake", profile="spec").call(CPU_SUSPEND, POWER_DOWN, ENTRY)
    assert [type(effect) for effect in outcome.effects] == [PowerDown, Wake]


def test_a_suspend_that_was_refused_is_not_woken() -> None:
    outcome = Guest("kind=spurious-wake").call(SYSTEM_SUSPEND, ENTRY + 1)
    assert (outcome.code, outcome.fault) == (ReturnCode.INVALID_ADDRESS, None)


def test_a_lost_cpu_on_succeeds_starts_nothing_and_can_be_tried_again() -> None:
    guest = Guest("kind=lost-power-on,nth=1")
    lost = guest.call(CPU_ON, 1, ENTRY)
    again = guest.call(CPU_ON, 1, ENTRY)
    assert (lost.effects, lost.fault, type(again.effects[0])) == ((Return((0,)),), "lost-power-on", PowerOn)


def test_a_vcpu_starts_with_a_corrupted_entry_point_and_context_id() -> None:
    outcome = Guest("kind=corrupt,entry_point=0x1,context_id=0xF0").call(CPU_ON, 1, ENTRY, 0xFF)
    power_on = outcome.effects[0]
    assert isinstance(power_on, PowerOn)
    assert (power_on.entry.pc, power_on.entry.x0) == (ENTRY + 1, 0x0F)


def test_a_resume_uses_the_corrupted_context() -> None:
    guest = Guest("kind=corrupt,context_id=0x1")
    outcome = guest.call(SYSTEM_SUSPEND, ENTRY, 0x10)
    assert (outcome.effects, guest.psci.resume()) == (
        (Suspend(guest.psci.context),) if guest.psci.context else (),
        guest.psci.profile.entry_state(ENTRY, 0x11),
    )


def test_a_context_that_cannot_be_prepared_denies_a_suspend_on_xen() -> None:
    guest = Guest("kind=preparation,nth=1")
    outcomes = [guest.call(SYSTEM_SUSPEND, ENTRY) for _ in range(2)]
    assert [(outcome.code, outcome.fault) for outcome in outcomes] == [
        (ReturnCode.DENIED, "preparation"),
        (None, None),
    ]


def test_a_context_that_cannot_be_prepared_fails_a_resume_on_xen_v16() -> None:
    guest = Guest("kind=preparation,function=SYSTEM_SUSPEND", profile="xen-v16")
    outcome = guest.call(SYSTEM_SUSPEND, ENTRY)
    assert (outcome.fault, guest.psci.prepare_context()) == ("preparation", False)


@pytest.mark.parametrize(
    ("profile", "registers"), [("xen", (CPU_ON, 1, ENTRY + 1)), ("spec", (CPU_ON, 1, ENTRY))]
)
def test_a_failure_that_nothing_meets_does_not_wait_for_the_next_call(
    profile: str, registers: tuple[int, ...]
) -> None:
    guest = Guest("kind=preparation", profile=profile)
    outcome = guest.call(*registers)
    assert (outcome.fault, guest.psci.preparations_to_fail) == (None, 0)


# ------------------------------------------------------------------------------ how it is written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no FIELD=VALUE"),
        ("kind", "no FIELD=VALUE"),
        ("function=CPU_ON", "Unable to extract tag"),
        ("kind=magic", "does not match any of the expected tags"),
        ("kind=return", "code: Field required"),
        ("kind=return,code=NO", "code: is none of SUCCESS"),
        ("kind=return,code=denied", "code: is none of SUCCESS"),
        ("kind=return,code=DENIED,function=cpu_on", "function: is none of PSCI_VERSION"),
        ("kind=return,code=DENIED,often=1", "often: Extra inputs"),
        ("kind=return,code=DENIED,nth=0", "nth: Input should be greater"),
        ("kind=return,code=DENIED,nth=[1", "is no value"),
        ("kind=return,code=DENIED,probability=2", "probability: Input should be less"),
        ("kind=delay,time_us=0", "time_us: Input should be greater"),
        ("kind=corrupt", "flips no bit"),
        ("kind=lost-power-on,function=CPU_OFF", "CPU_OFF cannot have this fault, only CPU_ON"),
    ],
)
def test_a_wrong_rule_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_fault(text)


@given(st.text(max_size=60))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_fault(text)


def test_a_plan_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(
        "seed: 7\nrules:\n"
        "  - {kind: return, function: SYSTEM_SUSPEND, nth: 1, code: DENIED}\n"
        "  - {kind: corrupt, function: CPU_ON, entry_point: 0x1}\n"
    )
    plan = load_yaml_model(path, FaultPlan)
    assert (plan.seed, plan.rules[1]) == (7, parse_fault("kind=corrupt,function=CPU_ON,entry_point=1"))


def test_a_plan_survives_json() -> None:
    texts = ("kind=return,function=CPU_ON,code=DENIED", "kind=return,code=SUCCESS", "kind=spurious-wake")
    plan = FaultPlan(seed=7, rules=tuple(parse_fault(text) for text in texts))
    assert FaultPlan.model_validate_json(plan.model_dump_json()) == plan


def test_a_wrong_field_of_a_plan_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("rules:\n  - kind: delay\n    time_us: soon\n")
    with pytest.raises(FileError, match=r"plan\.yaml:3: .*time_us"):
        load_yaml_model(path, FaultPlan)
