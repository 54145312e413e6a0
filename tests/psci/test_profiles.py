"""What each profile answers, case by case, as measured on the real thing (spec: as written)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import pytest

from hil_agent.errors import UsageError
from hil_agent.psci import (
    DEFAULT_PROFILE,
    Call,
    Conduit,
    Function,
    Outcome,
    ReturnCode,
    VirtualPsci,
    get_profile,
    profiles,
)
from hil_agent.psci.effects import InjectUndefined, PowerDown, PowerOff, Return, Suspend, SystemReset
from hil_agent.psci.functions import FORMS

ENTRY = 0x4008_0DC0
NO_RAM = 0x10_0000_0000
GARBAGE = 0xDEAD_BEEF_0000_0000

UNSUPPORTED = ReturnCode.NOT_SUPPORTED
INVALID = ReturnCode.INVALID_PARAMETERS
BAD_ENTRY = ReturnCode.INVALID_ADDRESS
DENIED = ReturnCode.DENIED
ALREADY_ON = ReturnCode.ALREADY_ON
UNDEFINED = InjectUndefined

Answer: TypeAlias = int | type[object]
"""The value of x0, signed, or the effect of a call that does not return."""


@dataclass(frozen=True)
class Case:
    """A call by vCPU 0 of two (MPIDRs 0 and 1), and what it is answered."""

    name: str
    registers: tuple[int, ...]
    spec: Answer
    xen: Answer
    kvm: Answer
    qemu: Answer
    cpu1_on: bool = False
    conduit: Conduit = Conduit.HVC
    immediate: int = 0
    mitigations: bool = False


def same(name: str, registers: tuple[int, ...], answer: Answer, *, cpu1_on: bool = False) -> Case:
    return Case(name, registers, answer, answer, answer, answer, cpu1_on)


CASES = [
    Case("PSCI_VERSION", (0x84000000,), 0x10003, 0x10001, 0x10001, 0x10001),
    Case("PSCI_VERSION.upper", (GARBAGE | 0x84000000,), 0x10003, 0x10001, 0x10001, UNSUPPORTED),
    Case("SMCCC_VERSION", (0x80000000,), 0x10002, 0x10002, 0x10001, UNSUPPORTED),
    Case("SMCCC_VERSION.upper", (GARBAGE | 0x80000000,), 0x10002, 0x10002, 0x10001, UNSUPPORTED),
    Case("ARCH_FEATURES.SMCCC_VERSION", (0x80000001, 0x80000000), 0, UNSUPPORTED, UNSUPPORTED, UNSUPPORTED),
    Case("ARCH_FEATURES.WA1", (0x80000001, 0x80008000), 0, 0, UNSUPPORTED, UNSUPPORTED, mitigations=True),
    Case("ARCH_FEATURES.WA2", (0x80000001, 0x80007FFF), 0, 0, UNSUPPORTED, UNSUPPORTED, mitigations=True),
    Case(
        "ARCH_FEATURES.WA1.upper", (0x80000001, GARBAGE | 0x80008000), 0, 0, UNSUPPORTED, UNSUPPORTED,
        mitigations=True,
    ),
    Case("ARCH_FEATURES.WA1.not_needed", (0x80000001, 0x80008000), 1, UNSUPPORTED, UNSUPPORTED, UNSUPPORTED),
    Case("ARCH_FEATURES.PV_TIME", (0x80000001, 0xC5000020), UNSUPPORTED, UNSUPPORTED, 0, UNSUPPORTED),
    Case("VENDOR_HYP_UID", (0x8600FF01,), UNSUPPORTED, UNSUPPORTED, 0xB66FB428, UNSUPPORTED),
    Case("STD_UID", (0x8400FF01,), UNSUPPORTED, 0x6F3863F8, UNSUPPORTED, UNSUPPORTED),
    Case("STD_CALL_COUNT", (0x8400FF00,), UNSUPPORTED, 0x11, UNSUPPORTED, UNSUPPORTED),
    Case("STD_REVISION", (0x8400FF03,), UNSUPPORTED, 0, UNSUPPORTED, UNSUPPORTED),
    Case("TRNG_VERSION", (0x84000050,), 0x10000, UNSUPPORTED, 0x10000, UNSUPPORTED),
    same("ARCH_FEATURES.unknown", (0x80000001, 0x80001234), UNSUPPORTED),
    same("MIGRATE_INFO_TYPE", (0x84000006,), 2),
    same("unknown", (0x84000099,), UNSUPPORTED),
    same("MIGRATE", (0xC4000005, 1), UNSUPPORTED),
    same("PSCI_VERSION64", (0xC4000000,), UNSUPPORTED),
    same("CPU_OFF64", (0xC4000002,), UNSUPPORTED),
    same("SYSTEM_OFF64", (0xC4000008,), UNSUPPORTED),
    # PSCI_FEATURES
    Case("FEATURES.SYSTEM_SUSPEND32", (0x8400000A, 0x8400000E), 0, 0, 0, UNSUPPORTED),
    Case("FEATURES.SYSTEM_SUSPEND64", (0x8400000A, 0xC400000E), 0, 0, 0, UNSUPPORTED),
    Case("FEATURES.SMCCC_VERSION", (0x8400000A, 0x80000000), 0, 0, 0, UNSUPPORTED),
    Case("FEATURES.CPU_ON64.upper", (0x8400000A, GARBAGE | 0xC4000003), 0, 0, 0, UNSUPPORTED),
    Case("FEATURES.CPU_SUSPEND64", (0x8400000A, 0xC4000001), 1, 0, 0, 0),
    Case("FEATURES.SYSTEM_RESET2_32", (0x8400000A, 0x84000012), 0, UNSUPPORTED, 0, UNSUPPORTED),
    Case("FEATURES.SYSTEM_RESET2_64", (0x8400000A, 0xC4000012), 0, UNSUPPORTED, 0, UNSUPPORTED),
    Case("FEATURES.0.1_CPU_SUSPEND", (0x8400000A, 0x95C1BA5E), UNSUPPORTED, UNSUPPORTED, UNSUPPORTED, 0),
    Case("FEATURES.0.1_CPU_ON", (0x8400000A, 0x95C1BA60), UNSUPPORTED, UNSUPPORTED, UNSUPPORTED, 0),
    same("FEATURES.0.1_MIGRATE", (0x8400000A, 0x95C1BA61), UNSUPPORTED),
    same("FEATURES.ARCH_FEATURES", (0x8400000A, 0x80000001), UNSUPPORTED),
    same("FEATURES.unknown", (0x8400000A, 0x84000099), UNSUPPORTED),
    # AFFINITY_INFO
    same("AI32.self.L0", (0x84000004, 0, 0), 0),
    same("AI64.cpu1_off.L0", (0xC4000004, 1, 0), 1),
    same("AI64.cpu1_on.L0", (0xC4000004, 1, 0), 0, cpu1_on=True),
    same("AI64.cpu1_off.L1", (0xC4000004, 1, 1), 0),
    same("AI64.self.L3", (0xC4000004, 0, 3), 0),
    Case("AI32.self.L4", (0x84000004, 0, 4), INVALID, INVALID, INVALID, 0),
    Case("AI32.absent99.L0", (0x84000004, 99, 0), INVALID, 1, INVALID, INVALID),
    Case("AI32.absentAff1.L0", (0x84000004, 0x100, 0), INVALID, 1, INVALID, INVALID),
    Case("AI32.absentAff1.L1", (0x84000004, 0x100, 1), INVALID, 1, INVALID, 0),
    Case("AI32.absent99.L4", (0x84000004, 99, 4), INVALID, INVALID, INVALID, 0),
    Case("AI32.bit31.L0", (0x84000004, 1 << 31, 0), INVALID, 0, INVALID, INVALID),
    Case("AI32.bit24.L0", (0x84000004, 1 << 24, 0), INVALID, 0, INVALID, INVALID),
    Case("AI32.self.upper", (0x84000004, GARBAGE, 0), 0, 0, 0, INVALID),
    Case("AI32.aff3", (0x84000004, 1 << 32, 0), 0, 0, 0, INVALID),
    Case("AI64.self.L4", (0xC4000004, 0, 4), INVALID, INVALID, INVALID, 0),
    Case("AI64.absent99.L0", (0xC4000004, 99, 0), INVALID, 1, INVALID, INVALID),
    Case("AI64.absentAff1.L0", (0xC4000004, 0x100, 0), INVALID, 1, INVALID, INVALID),
    Case("AI64.absent99.L4", (0xC4000004, 99, 4), INVALID, INVALID, INVALID, 0),
    Case("AI64.bit24.L0", (0xC4000004, 1 << 24, 0), INVALID, 0, INVALID, INVALID),
    Case("AI64.absentAff1.L1", (0xC4000004, 0x100, 1), INVALID, 1, INVALID, 0),
    Case("AI64.bit31.L0", (0xC4000004, 1 << 31, 0), INVALID, 0, INVALID, INVALID),
    Case("AI64.self.upper", (0xC4000004, GARBAGE, 0), INVALID, 1, INVALID, INVALID),
    Case("AI64.self.level_upper", (0xC4000004, 0, GARBAGE), 0, 0, INVALID, 0),
    Case("AI64.aff3", (0xC4000004, 1 << 32, 0), INVALID, 1, INVALID, INVALID),
    # CPU_ON
    same("CPU_ON64.cpu1", (0xC4000003, 1, ENTRY, 7), 0),
    same("CPU_ON64.self", (0xC4000003, 0, ENTRY), ALREADY_ON),
    same("CPU_ON64.cpu1.on", (0xC4000003, 1, ENTRY), ALREADY_ON, cpu1_on=True),
    same("CPU_ON64.absent", (0xC4000003, 99, ENTRY), INVALID),
    same("CPU_ON64.absent.odd", (0xC4000003, 99, ENTRY + 1), INVALID),
    Case("CPU_ON32.self.odd", (0x84000003, 0, ENTRY + 1), BAD_ENTRY, BAD_ENTRY, ALREADY_ON, INVALID),
    Case("CPU_ON64.self.odd", (0xC4000003, 0, ENTRY + 1), BAD_ENTRY, BAD_ENTRY, ALREADY_ON, INVALID),
    Case("CPU_ON64.cpu1.odd", (0xC4000003, 1, ENTRY + 1), BAD_ENTRY, BAD_ENTRY, 0, INVALID),
    Case(
        "CPU_ON64.cpu1.on.odd", (0xC4000003, 1, ENTRY + 1), BAD_ENTRY, BAD_ENTRY, ALREADY_ON, INVALID,
        cpu1_on=True,
    ),
    Case("CPU_ON64.cpu1.misaligned", (0xC4000003, 1, ENTRY + 2), BAD_ENTRY, 0, 0, INVALID),
    Case("CPU_ON64.cpu1.no_ram", (0xC4000003, 1, NO_RAM), BAD_ENTRY, 0, 0, 0),
    Case("CPU_ON64.bit31+1", (0xC4000003, 1 << 31 | 1, ENTRY), INVALID, 0, INVALID, INVALID),
    Case("CPU_ON64.bit24+1", (0xC4000003, 1 << 24 | 1, ENTRY), INVALID, 0, INVALID, INVALID),
    Case("CPU_ON32.cpu1.upper", (0x84000003, GARBAGE | 1, ENTRY), 0, 0, 0, INVALID),
    Case(
        "0.1.CPU_ON.95c1ba60", (0x95C1BA60, 1, ENTRY), UNSUPPORTED, UNSUPPORTED, UNSUPPORTED, 0
    ),
    Case("0.1.CPU_ON.2", (2, 1, ENTRY), UNSUPPORTED, 0, UNSUPPORTED, UNSUPPORTED),
    Case("0.1.CPU_ON.2.odd", (2, 1, ENTRY + 1), UNSUPPORTED, INVALID, UNSUPPORTED, UNSUPPORTED),
    Case("0.1.CPU_ON.2.self", (2, 0, ENTRY), UNSUPPORTED, INVALID, UNSUPPORTED, UNSUPPORTED),
    Case("0.1.CPU_OFF.1", (1,), UNSUPPORTED, PowerOff, UNSUPPORTED, UNSUPPORTED),
    # SYSTEM_RESET2
    Case("SYSTEM_RESET2_32.warm", (0x84000012, 0), SystemReset, UNSUPPORTED, SystemReset, UNSUPPORTED),
    Case("SYSTEM_RESET2_32.type1", (0x84000012, 1), INVALID, UNSUPPORTED, INVALID, UNSUPPORTED),
    Case("SYSTEM_RESET2_64.type1", (0xC4000012, 1), INVALID, UNSUPPORTED, INVALID, UNSUPPORTED),
    Case(
        "SYSTEM_RESET2_64.type7fffffff", (0xC4000012, 0x7FFFFFFF), INVALID, UNSUPPORTED, INVALID, UNSUPPORTED
    ),
    # CPU_SUSPEND
    same("CPU_SUSPEND32.standby", (0x84000001, 0), 0),
    Case("CPU_SUSPEND64.powerdown", (0xC4000001, 1 << 16, ENTRY), PowerDown, 0, 0, 0),
    Case("0.1.CPU_SUSPEND.95c1ba5e", (0x95C1BA5E,), UNSUPPORTED, UNSUPPORTED, UNSUPPORTED, 0),
    same("CPU_SUSPEND64.upper", (0xC4000001, GARBAGE), 0),
    Case("CPU_SUSPEND64.bit17", (0xC4000001, 1 << 17), INVALID, 0, 0, INVALID),
    Case("CPU_SUSPEND64.bit30", (0xC4000001, 1 << 30), INVALID, 0, 0, INVALID),
    Case("CPU_SUSPEND64.bit31", (0xC4000001, 1 << 31), INVALID, 0, 0, INVALID),
    Case("CPU_SUSPEND64.level3", (0xC4000001, 0x3010000, ENTRY), PowerDown, 0, 0, INVALID),
    # SYSTEM_SUSPEND
    Case("SYSTEM_SUSPEND64", (0xC400000E, ENTRY), Suspend, Suspend, Suspend, UNSUPPORTED),
    Case("SYSTEM_SUSPEND32.upper", (0x8400000E, GARBAGE | ENTRY), Suspend, Suspend, Suspend, UNSUPPORTED),
    Case("SYSTEM_SUSPEND64.odd", (0xC400000E, ENTRY + 1), BAD_ENTRY, BAD_ENTRY, BAD_ENTRY, UNSUPPORTED),
    Case("SYSTEM_SUSPEND32.odd", (0x8400000E, ENTRY + 1), BAD_ENTRY, BAD_ENTRY, BAD_ENTRY, UNSUPPORTED),
    Case("SYSTEM_SUSPEND64.misaligned", (0xC400000E, ENTRY + 2), BAD_ENTRY, Suspend, Suspend, UNSUPPORTED),
    Case("SYSTEM_SUSPEND64.no_ram", (0xC400000E, NO_RAM), BAD_ENTRY, Suspend, Suspend, UNSUPPORTED),
    Case("SYSTEM_SUSPEND64.cpu1_on", (0xC400000E, ENTRY), DENIED, DENIED, DENIED, UNSUPPORTED, cpu1_on=True),
    Case("SYSTEM_SUSPEND32.cpu1_on", (0x8400000E, ENTRY), DENIED, DENIED, DENIED, UNSUPPORTED, cpu1_on=True),
    Case(
        "SYSTEM_SUSPEND64.cpu1_on.odd", (0xC400000E, ENTRY + 1), BAD_ENTRY, BAD_ENTRY, DENIED, UNSUPPORTED,
        cpu1_on=True,
    ),
    # The way in
    Case("hvc1", (0x84000000,), UNDEFINED, UNDEFINED, 0x10001, 0x10001, immediate=1),
    Case("hvc1234", (0x84000000,), UNDEFINED, UNDEFINED, 0x10001, 0x10001, immediate=0x1234),
    Case("smc0.AI64.self", (0xC4000004,), 0, 0, UNSUPPORTED, UNDEFINED, conduit=Conduit.SMC),
    Case("hvc1.unknown", (0x84000099,), UNDEFINED, UNDEFINED, UNSUPPORTED, UNSUPPORTED, immediate=1),
    Case("smc0", (0x84000000,), 0x10003, 0x10001, UNSUPPORTED, UNDEFINED, conduit=Conduit.SMC),
    Case(
        "smc0.unknown", (0x84000099,), UNSUPPORTED, UNSUPPORTED, UNSUPPORTED, UNDEFINED,
        conduit=Conduit.SMC,
    ),
    Case(
        "smc1", (0x84000000,), UNDEFINED, UNDEFINED, UNSUPPORTED, UNDEFINED,
        conduit=Conduit.SMC, immediate=1,
    ),
]  # fmt: skip


def make(
    profile: str, *, cpu1_on: bool = False, conduit: Conduit = Conduit.HVC, mitigations: bool = False
) -> VirtualPsci:
    chosen = get_profile(profile).with_mitigations() if mitigations else get_profile(profile)
    psci = VirtualPsci(chosen, (0, 1), (range(0x4000_0000, 0x6000_0000),), conduit)
    if cpu1_on:
        psci.power_on(1)
        psci.entered(1)
    return psci


def call(
    psci: VirtualPsci, registers: tuple[int, ...], conduit: Conduit = Conduit.HVC, immediate: int = 0
) -> Outcome:
    x0, x1, x2, x3 = registers + (0,) * (4 - len(registers))
    return psci.call(Call(0, conduit, (x0, x1, x2, x3), immediate))


def answer(outcome: Outcome) -> Answer:
    if outcome.result is None:
        return type(outcome.effects[-1])
    return outcome.result - (1 << 64 if outcome.result >> 63 else 0)


@pytest.mark.parametrize("profile", ["spec", "xen", "kvm", "qemu"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answer(case: Case, profile: str) -> None:
    psci = make(profile, cpu1_on=case.cpu1_on, mitigations=case.mitigations)
    assert answer(call(psci, case.registers, case.conduit, case.immediate)) == getattr(case, profile)


V16_DIFFERENCES = {"AI32.self.upper": 1, "AI32.aff3": 1}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_xen_v16_answers_like_xen_but_for_narrowing(case: Case) -> None:
    psci = make("xen-v16", cpu1_on=case.cpu1_on, mitigations=case.mitigations)
    expected = V16_DIFFERENCES.get(case.name, case.xen)
    assert answer(call(psci, case.registers, case.conduit, case.immediate)) == expected


ASKED_FOR = [
    function_id
    for function_id, form in FORMS.items()
    if form.function.is_psci or form.function is Function.SMCCC_VERSION
]


@pytest.mark.parametrize("function_id", ASKED_FOR, ids=hex)
@pytest.mark.parametrize("profile", profiles())
def test_psci_features_agrees_with_a_call(profile: str, function_id: int) -> None:
    offered = answer(call(make(profile), (0x8400_000A, function_id))) != UNSUPPORTED
    answered = answer(call(make(profile), (function_id, 0x8400_0000))) != UNSUPPORTED
    assert offered == answered


def test_kvm_zeroes_x1_to_x3_with_every_answer() -> None:
    assert call(make("kvm"), (0x8400_0099, 1, 2, 3)).effects == (Return(((1 << 64) - 1, 0, 0, 0)),)


@pytest.mark.parametrize("profile", ["spec", "xen", "xen-v16", "qemu"])
def test_others_write_x0_only(profile: str) -> None:
    assert call(make(profile), (0x8400_0006,)).effects == (Return((2,)),)


@pytest.mark.parametrize("profile", profiles())
def test_a_guest_that_is_told_to_use_smc_is_answered(profile: str) -> None:
    psci = make(profile, conduit=Conduit.SMC)
    assert answer(call(psci, (0x8400_0006,), Conduit.SMC)) == 2


def test_the_five_profiles_are_found() -> None:
    assert list(profiles()) == ["kvm", "qemu", "spec", "xen", "xen-v16"]


def test_the_default_profile_exists() -> None:
    assert get_profile(DEFAULT_PROFILE).name == "xen"


def test_an_unknown_profile_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        get_profile("Xen")
    assert caught.value.hint == "profiles: kvm, qemu, spec, xen, xen-v16"
