"""The calling instruction, and the registers that a call must leave alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hil_agent.conformance.case import Call, Case, Mpidr, Scenario, ask
from hil_agent.conformance.function_ids import Id
from hil_agent.conformance.lab import Lab
from hil_agent.conformance.observation import KEPT, ZERO, Event, Observation, expect, undefined
from hil_agent.psci import Conduit, ReturnCode

_NO = ReturnCode.NOT_SUPPORTED
_VERSION = 0x1_0001
_IMMEDIATE = "DEN0028: the immediate is 0; Xen vsmc.c vsmccc_handle_call; KVM and QEMU ignore it; measured"
_SMC = (
    "Xen traps.c do_trap_smc answers as for HVC; Linux kvm/handle_exit.c handle_smc answers NOT_SUPPORTED; "
    "QEMU has no EL3: undefined; measured"
)
_KEPT = (
    "DEN0028, SMCCC 1.1: x4 to x30 and what is no result are kept; KVM writes x1 to x3 "
    "(smccc_set_retval); Xen and QEMU write x0; measured"
)


def _told_hvc(lab: Lab) -> str | None:
    return None if lab.conduit is Conduit.HVC else "the guest is told to call by smc"


def _arguments(name: str, function_id: int, *args: Mpidr | int) -> Scenario:
    """What becomes of x1 to x3."""
    case_name = f"registers.x1_to_x3.{name}"
    call = Call(function_id, args)

    def run(lab: Lab) -> Mapping[str, Observation]:
        given = tuple(lab.resolve(arg) for arg in args)
        lab.call(call)
        after = lab.probe.record(call.cpu).x[1:4]
        return {case_name: KEPT if after == given else ZERO if not any(after) else Event("changed")}

    case = Case(case_name, f"{call}, then x1 to x3", expect(KEPT, kvm=ZERO), _KEPT)
    return Scenario(cases=(case,), run=run)


SCENARIOS = [
    *(
        replace(scenario, skip=_told_hvc)
        for scenario in (
            ask(
                "conduit.hvc.immediate1",
                Call(Id.PSCI_VERSION, conduit=Conduit.HVC, immediate=1),
                expect(undefined(4), kvm=_VERSION, qemu=_VERSION),
                source=_IMMEDIATE,
            ),
            ask(
                "conduit.hvc.immediate1234",
                Call(Id.PSCI_VERSION, conduit=Conduit.HVC, immediate=0x1234),
                expect(undefined(4), kvm=_VERSION, qemu=_VERSION),
                source=_IMMEDIATE,
            ),
            ask(
                "conduit.hvc.immediate_unknown",
                Call(0x8400_0099, conduit=Conduit.HVC, immediate=1),
                expect(undefined(4), kvm=_NO, qemu=_NO),
                source=_IMMEDIATE,
            ),
            ask(
                "conduit.smc.version",
                Call(Id.PSCI_VERSION, conduit=Conduit.SMC),
                expect(0x1_0003, xen=_VERSION, kvm=_NO, qemu=undefined(0)),
                source=_SMC,
            ),
            ask(
                "conduit.smc.affinity",
                Call(Id.AFFINITY_INFO64, (Mpidr(0),), conduit=Conduit.SMC),
                expect(0, kvm=_NO, qemu=undefined(0)),
                source=_SMC,
            ),
            ask(
                "conduit.smc.unknown",
                Call(0x8400_0099, conduit=Conduit.SMC),
                expect(_NO, qemu=undefined(0)),
                source=_SMC,
            ),
            ask(
                "conduit.smc.immediate1",
                Call(Id.PSCI_VERSION, conduit=Conduit.SMC, immediate=1),
                expect(undefined(0), kvm=_NO),
                source=_SMC,
            ),
        )
    ),
    _arguments("PSCI_VERSION", Id.PSCI_VERSION, 0x1111, 0x2222, 0x3333),
    _arguments("PSCI_FEATURES", Id.PSCI_FEATURES, Id.CPU_OFF, 0x2222, 0x3333),
    _arguments("AFFINITY_INFO32", Id.AFFINITY_INFO32, Mpidr(0), 0, 0x3333),
    _arguments("AFFINITY_INFO64", Id.AFFINITY_INFO64, Mpidr(0), 0, 0x3333),
    _arguments("CPU_ON64.refused", Id.CPU_ON64, 0x63, 0x2222, 0x3333),
    _arguments("MIGRATE_INFO_TYPE", Id.MIGRATE_INFO_TYPE, 0x1111, 0x2222, 0x3333),
    _arguments("unknown", 0x8400_0099, 0x1111, 0x2222, 0x3333),
]
