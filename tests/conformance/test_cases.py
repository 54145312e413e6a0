from __future__ import annotations

from collections import Counter

import pytest

from hil_agent.conformance import scenarios
from hil_agent.conformance.case import Call, Landing, Mpidr
from hil_agent.conformance.function_ids import Id
from hil_agent.conformance.observation import BUILTIN, Event
from hil_agent.conformance.runner import select
from hil_agent.psci import Conduit, Function, profiles
from hil_agent.psci.functions import FORMS, Width

CASES = [case for scenario in scenarios() for case in scenario.cases]
EXPECTATIONS = [*profiles(), BUILTIN]


def test_every_case_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []


def test_every_case_says_what_is_done_and_who_says_what_is_right() -> None:
    assert [case.name for case in CASES if not (case.call and case.source)] == []


@pytest.mark.parametrize("profile", EXPECTATIONS)
def test_there_are_several_hundred_for_each_profile(profile: str) -> None:
    assert sum(len(scenario.cases) for scenario in select(scenarios(), profile)) > 350


@pytest.mark.parametrize("profile", EXPECTATIONS)
def test_no_expectation_is_met_by_whatever_comes(profile: str) -> None:
    assert [case.name for case in CASES if Event("whatever") in case.expected.of(profile)] == []


def test_a_pattern_picks_single_cases() -> None:
    chosen = select(scenarios(), "xen", "system_suspend.entry.d*")
    assert [case.name for scenario in chosen for case in scenario.cases] == ["system_suspend.entry.daif"]


def test_what_ends_the_machine_comes_last() -> None:
    order = [scenario.last for scenario in select(scenarios(), "xen")]
    assert order == sorted(order)


def test_the_specifications_numbers_are_those_of_the_vpsci() -> None:
    """Two tables, each written down from the specifications: they must not have drifted apart."""
    ours = {
        function_id: f"{form.function.name}{'_' if form.function.name[-1] == '2' else ''}{int(form.width)}"
        for function_id, form in FORMS.items()
        if form.function.is_psci and None not in (form.function.smc32, form.function.smc64)
    } | {
        function_id: form.function.name
        for function_id, form in FORMS.items()
        if form.function.is_psci and None in (form.function.smc32, form.function.smc64)
    }
    assert {function_id.value: function_id.name for function_id in Id if function_id in ours} == ours
    assert Function.SMCCC_VERSION.smc32 == Id.SMCCC_VERSION
    assert FORMS[Id.CPU_ON64].width is Width.SMC64


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (Call(Id.CPU_ON64, (Mpidr(1), Landing(), 5)), "CPU_ON64(cpu1, entry, 0x5)"),
        (
            Call(Id.CPU_ON32, (Mpidr(1, 1 << 31), Landing(2, 1)), cpu=1),
            "cpu1: CPU_ON32(cpu1|0x80000000, entry2+0x1)",
        ),
        (Call(0xDEAD_BEEF_8400_0000), "0xdeadbeef:PSCI_VERSION()"),
        (Call(0x8400_0099, conduit=Conduit.SMC, immediate=1), "0x84000099() by smc #0x1"),
    ],
)
def test_calls_read_well(call: Call, words: str) -> None:
    assert str(call) == words
