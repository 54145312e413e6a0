"""Calls beside PSCI: SMCCC's own, random numbers, and who answers them."""

from __future__ import annotations

from hil_agent.conformance.case import Call, ask
from hil_agent.conformance.function_ids import Id
from hil_agent.conformance.observation import expect
from hil_agent.psci import ReturnCode

_NO = ReturnCode.NOT_SUPPORTED
_GARBAGE = 0xDEAD_BEEF << 32
_ARCH = "DEN0028; Xen vsmc.c handle_arch; Linux kvm/hypercalls.c; QEMU has none; measured"
_XEN_UID = "Xen vsmc.c fill_uid, fill_function_call_count; measured"

SCENARIOS = [
    ask("smccc.version", Call(Id.SMCCC_VERSION), expect(0x1_0002, kvm=0x1_0001, qemu=_NO), source=_ARCH),
    ask(
        "smccc.version.garbage_id",
        Call(_GARBAGE | Id.SMCCC_VERSION),
        expect(0x1_0002, kvm=0x1_0001, qemu=_NO),
        source=_ARCH,
    ),
    ask(
        "smccc.arch_features.unknown", Call(Id.SMCCC_ARCH_FEATURES, (0x8000_1234,)), expect(_NO), source=_ARCH
    ),
    ask(
        "smccc.arch_features.psci",
        Call(Id.SMCCC_ARCH_FEATURES, (Id.PSCI_VERSION,)),
        expect(_NO),
        source=_ARCH,
    ),
    ask(
        "smccc.arch_features.pv_time",
        Call(Id.SMCCC_ARCH_FEATURES, (Id.PV_TIME_FEATURES,)),
        expect(_NO, kvm=0),
        source=_ARCH,
    ),
    ask(
        "smccc.arch_features.version",
        Call(Id.SMCCC_ARCH_FEATURES, (Id.SMCCC_VERSION,)),
        expect(0, xen=None, kvm=None, qemu=_NO),
        source="DEN0028, SMCCC_ARCH_FEATURES",
    ),
    ask(
        "smccc.arch_features.itself",
        Call(Id.SMCCC_ARCH_FEATURES, (Id.SMCCC_ARCH_FEATURES,)),
        expect(0, xen=None, kvm=None, qemu=_NO),
        source="DEN0028, SMCCC_ARCH_FEATURES",
    ),
    *(
        ask(
            f"smccc.arch_features.{workaround.name[-12:].lower()}",
            Call(Id.SMCCC_ARCH_FEATURES, (workaround,)),
            expect((0, 1, _NO), qemu=_NO),
            source=_ARCH,
        )
        for workaround in (Id.SMCCC_ARCH_WORKAROUND_1, Id.SMCCC_ARCH_WORKAROUND_2, Id.SMCCC_ARCH_WORKAROUND_3)
    ),
    ask(
        "smccc.hypervisor_uid",
        Call(Id.HYP_UID),
        expect(_NO, kvm=0xB66F_B428),
        source="Linux kvm/hypercalls.c; measured",
    ),
    ask("smccc.standard_uid", Call(Id.STD_UID), expect(_NO, xen=0x6F38_63F8), source=_XEN_UID),
    ask("smccc.standard_call_count", Call(Id.STD_CALL_COUNT), expect(_NO, xen=0x11), source=_XEN_UID),
    ask("smccc.standard_revision", Call(Id.STD_REVISION), expect(_NO, xen=0), source=_XEN_UID),
    ask(
        "trng.version",
        Call(Id.TRNG_VERSION),
        expect((0x1_0000, _NO), xen=_NO, kvm=0x1_0000, qemu=_NO),
        source="DEN0098, TRNG_VERSION; Linux kvm/trng.c; measured",
    ),
]
