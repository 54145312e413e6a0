"""PSCI_VERSION; PSCI_FEATURES of every ID, and whether it tells the truth; IDs that nobody knows."""

from __future__ import annotations

from collections.abc import Mapping

from hil_agent.conformance.case import Argument, Call, Case, Landing, Mpidr, Scenario, ask
from hil_agent.conformance.function_ids import Id, name_of
from hil_agent.conformance.lab import Lab
from hil_agent.conformance.observation import NO, YES, Answer, Observation, Returns, expect
from hil_agent.psci import ReturnCode
from hil_agent.psci.functions import MASK64

_NOT_SUPPORTED = ReturnCode.NOT_SUPPORTED
_GARBAGE = 0xDEAD_BEEF << 32

_VERSION = "DEN0022, PSCI_VERSION; measured"
_FEATURES = (
    "DEN0022, PSCI_FEATURES; Xen vpsci.c do_psci_1_0_features; Linux kvm/psci.c; "
    "QEMU target/arm/psci.c; measured"
)

_MANDATORY = {
    Id.PSCI_VERSION, Id.CPU_OFF, Id.CPU_ON32, Id.CPU_ON64, Id.AFFINITY_INFO32, Id.AFFINITY_INFO64,
    Id.MIGRATE_INFO_TYPE, Id.SYSTEM_OFF, Id.SYSTEM_RESET, Id.PSCI_FEATURES,
}  # fmt: skip
"""And CPU_SUSPEND, whose features are flags."""

_SUSPENDS = {Id.SYSTEM_SUSPEND32, Id.SYSTEM_SUSPEND64}
_RESETS = {Id.SYSTEM_RESET2_32, Id.SYSTEM_RESET2_64}
_WITH_TRUSTED_OS = {Id.MIGRATE32, Id.MIGRATE64, Id.MIGRATE_INFO_UP_CPU32, Id.MIGRATE_INFO_UP_CPU64}
_CPU_SUSPENDS = {Id.CPU_SUSPEND32, Id.CPU_SUSPEND64}
_OFF2 = {Id.SYSTEM_OFF2_32, Id.SYSTEM_OFF2_64}
_HIBERNATE_OFF = 1

_PSCI_IDS = [base + number for base in (0x8400_0000, 0xC400_0000) for number in range(0x20)]

_UNKNOWN = [
    *(function_id for function_id in _PSCI_IDS if function_id not in list(Id)),
    0x8400_0020,
    0x8400_0099,
    0xC400_0099,
    0x8400_7FFF,
    0xC400_FFFF,
    0x0400_0000,
    0x4400_0000,
    0x8300_0000,
    0x8900_0000,
    0xFFFF_FFFF,
    0x0000_0000,
    0x0000_0003,
    0x7FFF_FFFF,
]


def _features(function_id: int) -> Scenario:
    spec: Answer | tuple[Answer, ...]
    others: dict[str, Answer] = {}
    if function_id in _CPU_SUSPENDS:
        spec, others = (0, 1, 2, 3), {"xen": 0, "kvm": 0, "qemu": 0}
    elif function_id in _MANDATORY:
        spec = 0
    elif function_id in _SUSPENDS:
        spec, others = 0, {"qemu": _NOT_SUPPORTED}
    elif function_id in _RESETS:
        spec, others = 0, {"xen": _NOT_SUPPORTED, "qemu": _NOT_SUPPORTED}
    elif function_id in _WITH_TRUSTED_OS or function_id not in list(Id):
        spec = _NOT_SUPPORTED
    else:
        spec = _HIBERNATE_OFF if function_id in _OFF2 else 0
        others = dict.fromkeys(("xen", "kvm", "qemu"), _NOT_SUPPORTED)
    call = Call(Id.PSCI_FEATURES, (function_id,))
    return ask(f"features.{name_of(function_id)}", call, expect(spec, **others), source=_FEATURES)


def _agreement(function_id: Id, *args: Argument) -> Scenario:
    """Whether a call with arguments that do no harm is answered just if PSCI_FEATURES says so."""
    name = f"features_agree.{function_id.name}"
    call = Call(function_id, args)

    def run(lab: Lab) -> Mapping[str, Observation]:
        unknown = Returns(_NOT_SUPPORTED & MASK64)
        said = lab.call(Call(Id.PSCI_FEATURES, (function_id,)))
        return {name: YES if (said == unknown) == (lab.call(call) == unknown) else NO}

    words = f"PSCI_FEATURES agrees with {call}"
    return Scenario(cases=(Case(name, words, expect(YES), "DEN0022, PSCI_FEATURES"),), run=run)


SCENARIOS = [
    ask(
        "version",
        Call(Id.PSCI_VERSION),
        expect(0x1_0003, xen=0x1_0001, kvm=0x1_0001, qemu=0x1_0001),
        source=_VERSION,
    ),
    ask(
        "version.with_arguments",
        Call(Id.PSCI_VERSION, (MASK64, MASK64, MASK64)),
        expect(0x1_0003, xen=0x1_0001, kvm=0x1_0001, qemu=0x1_0001),
        source=_VERSION,
    ),
    *(_features(function_id) for function_id in _PSCI_IDS),
    ask(
        "features.SMCCC_VERSION",
        Call(Id.PSCI_FEATURES, (Id.SMCCC_VERSION,)),
        expect(0, qemu=_NOT_SUPPORTED),
        source=_FEATURES,
    ),
    *(
        ask(
            f"features.{function_id.name}",
            Call(Id.PSCI_FEATURES, (function_id,)),
            expect(_NOT_SUPPORTED, qemu=qemu),
            source=_FEATURES,
        )
        for function_id, qemu in (
            (Id.SMCCC_ARCH_FEATURES, _NOT_SUPPORTED),
            (Id.SMCCC_ARCH_WORKAROUND_1, _NOT_SUPPORTED),
            (Id.TRNG_VERSION, _NOT_SUPPORTED),
            (Id.STD_UID, _NOT_SUPPORTED),
            (Id.XEN_CPU_OFF, _NOT_SUPPORTED),
            (Id.XEN_CPU_ON, _NOT_SUPPORTED),
            (Id.KVM_CPU_SUSPEND, 0),
            (Id.KVM_CPU_OFF, 0),
            (Id.KVM_CPU_ON, 0),
        )
    ),
    *(
        ask(
            f"features.garbage.{function_id.name}",
            Call(Id.PSCI_FEATURES, (_GARBAGE | function_id,)),
            expect(0, qemu=_NOT_SUPPORTED),
            source=_FEATURES,
        )
        for function_id in (Id.PSCI_VERSION, Id.CPU_OFF, Id.CPU_ON64, Id.AFFINITY_INFO64, Id.SYSTEM_SUSPEND64)
    ),
    *(
        ask(
            f"unknown.{function_id:08x}",
            Call(function_id, (0, 0, 0)),
            expect(_NOT_SUPPORTED),
            source="DEN0028, Unknown Function Identifier; measured",
        )
        for function_id in _UNKNOWN
    ),
    ask(
        "version.garbage_id",
        Call(_GARBAGE | Id.PSCI_VERSION),
        expect(0x1_0003, xen=0x1_0001, kvm=0x1_0001, qemu=_NOT_SUPPORTED),
        source="DEN0028: the function ID is W0; QEMU switches on all of x0; measured",
    ),
    ask(
        "unknown.garbage_id",
        Call(_GARBAGE | 0x8400_0099),
        expect(_NOT_SUPPORTED),
        source="DEN0028: the function ID is W0; measured",
    ),
    _agreement(Id.PSCI_VERSION),
    _agreement(Id.CPU_ON32, Mpidr(0), Landing()),
    _agreement(Id.CPU_ON64, Mpidr(0), Landing()),
    _agreement(Id.AFFINITY_INFO32, Mpidr(0)),
    _agreement(Id.AFFINITY_INFO64, Mpidr(0)),
    _agreement(Id.MIGRATE32, 0x63),
    _agreement(Id.MIGRATE64, 0x63),
    _agreement(Id.MIGRATE_INFO_TYPE),
    _agreement(Id.MIGRATE_INFO_UP_CPU32),
    _agreement(Id.MIGRATE_INFO_UP_CPU64),
    _agreement(Id.PSCI_FEATURES, Id.PSCI_VERSION),
    _agreement(Id.CPU_DEFAULT_SUSPEND32, 1),
    _agreement(Id.CPU_DEFAULT_SUSPEND64, 1),
    _agreement(Id.NODE_HW_STATE32, Mpidr(0)),
    _agreement(Id.NODE_HW_STATE64, Mpidr(0)),
    _agreement(Id.SYSTEM_SUSPEND32, 1),
    _agreement(Id.SYSTEM_SUSPEND64, 1),
    _agreement(Id.PSCI_SET_SUSPEND_MODE, 0),
    _agreement(Id.PSCI_STAT_RESIDENCY32, Mpidr(0)),
    _agreement(Id.PSCI_STAT_RESIDENCY64, Mpidr(0)),
    _agreement(Id.PSCI_STAT_COUNT32, Mpidr(0)),
    _agreement(Id.PSCI_STAT_COUNT64, Mpidr(0)),
    _agreement(Id.SYSTEM_RESET2_32, 1),
    _agreement(Id.SYSTEM_RESET2_64, 1),
    _agreement(Id.MEM_PROTECT, 0),
    _agreement(Id.MEM_PROTECT_CHECK_RANGE32, Landing(), 4),
    _agreement(Id.MEM_PROTECT_CHECK_RANGE64, Landing(), 4),
    _agreement(Id.SYSTEM_OFF2_32, 1, 1),
    _agreement(Id.SYSTEM_OFF2_64, 1, 1),
]
