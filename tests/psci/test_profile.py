"""What a profile offers at another version of PSCI."""

from __future__ import annotations

import pytest

from hil_agent.psci import (
    PSCI_VERSIONS,
    Call,
    Conduit,
    Function,
    Outcome,
    ReturnCode,
    VirtualPsci,
    get_profile,
    profiles,
)
from hil_agent.psci.effects import PowerOff, PowerOn
from hil_agent.psci.functions import FORMS, PSCI_0_1_IDS

VERSION = 0x8400_0000
CPU_ON = 0xC400_0003
FEATURES = 0x8400_000A
CPU_ON_0_1 = 0x95C1_BA60
CPU_OFF_0_1 = 0x95C1_BA5F
ENTRY = 0x4008_0000
VERSIONS = [str(version) for version in PSCI_VERSIONS]


def make(profile: str, version: str, legacy_ids: dict[int, Function] | None = None) -> VirtualPsci:
    return VirtualPsci(
        get_profile(profile).with_version(version),
        (0, 1),
        (range(0x4000_0000, 0x6000_0000),),
        legacy_ids=legacy_ids,
    )


def call(psci: VirtualPsci, x0: int, x1: int = 0, x2: int = 0, x3: int = 0) -> Outcome:
    return psci.call(Call(0, Conduit.HVC, (x0, x1, x2, x3)))


@pytest.mark.parametrize("version", PSCI_VERSIONS[1:], ids=str)
@pytest.mark.parametrize("profile", profiles())
def test_psci_version_answers_the_version_that_was_chosen(profile: str, version: tuple[int, int]) -> None:
    major, minor = version
    assert call(make(profile, f"{major}.{minor}"), VERSION).result == major << 16 | minor


@pytest.mark.parametrize(
    ("function", "since"),
    [
        (Function.PSCI_VERSION, "0.2"),
        (Function.AFFINITY_INFO, "0.2"),
        (Function.PSCI_FEATURES, "1.0"),
        (Function.CPU_FREEZE, "1.0"),
        (Function.SYSTEM_SUSPEND, "1.0"),
        (Function.PSCI_STAT_COUNT, "1.0"),
        (Function.SYSTEM_RESET2, "1.1"),
        (Function.MEM_PROTECT, "1.1"),
        (Function.SYSTEM_OFF2, "1.3"),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_spec_offers_a_function_from_its_version_on(function: Function, since: str, version: str) -> None:
    offered = get_profile("spec").with_version(version).offers(function)
    assert offered == (VERSIONS.index(version) >= VERSIONS.index(since))


def test_kvm_has_system_off2_in_later_versions_only() -> None:
    profile = get_profile("kvm")
    assert [profile.with_version(version).offers(Function.SYSTEM_OFF2) for version in ("1.1", "1.3")] == [
        False,
        True,
    ]


@pytest.mark.parametrize("version", VERSIONS[2:])
@pytest.mark.parametrize("profile", profiles())
def test_psci_features_agrees_with_a_call_at_every_version(profile: str, version: str) -> None:
    asked = [number for number, form in FORMS.items() if form.function.is_psci]
    unsupported = ReturnCode.NOT_SUPPORTED
    offered = {
        number for number in asked if call(make(profile, version), FEATURES, number).code is not unsupported
    }
    answered = {
        number for number in asked if call(make(profile, version), number, VERSION).code is not unsupported
    }
    assert offered == answered


def test_before_1_0_a_bad_address_is_an_invalid_parameter() -> None:
    codes = [call(make("spec", version), CPU_ON, 1, ENTRY + 1).code for version in ("0.2", "1.0")]
    assert codes == [ReturnCode.INVALID_PARAMETERS, ReturnCode.INVALID_ADDRESS]


@pytest.mark.parametrize("profile", ["spec", "kvm"])
def test_the_ids_of_0_1_are_answered_by_version_0_1(profile: str) -> None:
    started = call(make(profile, "0.1"), CPU_ON_0_1, 1, ENTRY, 7).effects[0]
    assert isinstance(started, PowerOn)
    assert (started.cpu, started.entry.pc) == (1, ENTRY)


@pytest.mark.parametrize("profile", ["spec", "kvm"])
def test_0_1_has_no_other_ids(profile: str) -> None:
    psci = make(profile, "0.1")
    assert {call(psci, number).code for number, form in FORMS.items() if form.function.is_psci} == {
        ReturnCode.NOT_SUPPORTED
    }


@pytest.mark.parametrize("profile", ["spec", "kvm"])
def test_0_1_has_no_code_for_a_vcpu_that_is_on(profile: str) -> None:
    assert call(make(profile, "0.1"), CPU_ON_0_1, 0, ENTRY).code is ReturnCode.INVALID_PARAMETERS


def test_the_ids_of_0_1_may_be_those_of_the_device_tree() -> None:
    psci = make("spec", "0.1", {0x8400_0002: Function.CPU_OFF})
    assert (call(psci, CPU_OFF_0_1).code, call(psci, 0x8400_0002)) == (
        ReturnCode.NOT_SUPPORTED,
        Outcome((PowerOff(),)),
    )


def test_calls_by_the_ids_of_0_1_are_counted_as_what_they_are() -> None:
    psci = make("xen", "1.1")
    call(psci, 2, 1, ENTRY)
    assert psci.counts == {Function.CPU_ON: [1, 0]}


def test_xen_0_1_starts_a_vcpu_without_a_context_id() -> None:
    started = call(make("xen", "1.1"), 2, 1, ENTRY, 7).effects[0]
    assert isinstance(started, PowerOn)
    assert started.entry.x0 == 0


def test_a_call_by_a_usual_id_of_0_1_has_a_name() -> None:
    names = [Call(0, Conduit.HVC, (number, 0, 0, 0)).name for number in PSCI_0_1_IDS]
    assert names == ["CPU_SUSPEND", "CPU_OFF", "CPU_ON", "MIGRATE"]
