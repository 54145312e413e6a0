"""CPU_OFF and CPU_FREEZE: that the caller is gone, and can come back."""

from __future__ import annotations

from collections.abc import Mapping

from hil_agent.conformance.case import Call, Case, Landing, Mpidr, Scenario, scenario
from hil_agent.conformance.function_ids import Id
from hil_agent.conformance.lab import Lab
from hil_agent.conformance.observation import SILENCE, Enters, Observation, expect
from hil_agent.psci import ReturnCode

_OFF = 1
_NO = ReturnCode.NOT_SUPPORTED
_CONTEXT = 0xABCD
_SOURCE = "DEN0022, CPU_OFF; Xen vpsci.c do_psci_cpu_off; Linux kvm/psci.c kvm_psci_vcpu_off; measured"


def _affinity(cpu: int, by: int = 0) -> Call:
    return Call(Id.AFFINITY_INFO64, (Mpidr(cpu), 0), cpu=by)


def _off(lab: Lab) -> Mapping[str, Observation]:
    return {
        "cpu_off.secondary": lab.power_off(1),
        "cpu_off.secondary.affinity": lab.call(_affinity(1)),
        "cpu_off.secondary.again": lab.start(Call(Id.CPU_ON64, (Mpidr(1), Landing(), _CONTEXT))),
    }


def _boot_cpu_off(lab: Lab) -> Mapping[str, Observation]:
    lab.probe.hand_over(1)
    return {
        "cpu_off.boot_cpu": lab.power_off(0),
        "cpu_off.boot_cpu.affinity": lab.call(_affinity(0, by=1)),
        "cpu_off.boot_cpu.again": lab.start(Call(Id.CPU_ON64, (Mpidr(0), Landing(), _CONTEXT), cpu=1)),
    }


def _cases(topic: str, cpu: int) -> tuple[Case, ...]:
    return (
        Case(topic, f"cpu{cpu}: CPU_OFF()", expect(SILENCE), _SOURCE),
        Case(f"{topic}.affinity", f"then AFFINITY_INFO64(cpu{cpu}, 0x0)", expect(_OFF), _SOURCE),
        Case(
            f"{topic}.again",
            f"then CPU_ON64(cpu{cpu}, entry, {_CONTEXT:#x})",
            expect(Enters(_CONTEXT)),
            _SOURCE,
        ),
    )


SCENARIOS = [
    Scenario(cases=_cases("cpu_off.secondary", 1), run=_off, on=frozenset({1}), cpus=2),
    Scenario(cases=_cases("cpu_off.boot_cpu", 0), run=_boot_cpu_off, on=frozenset({1}), cpus=2),
    scenario(
        "cpu_off.freeze",
        Call(Id.CPU_FREEZE, cpu=1),
        expect(SILENCE, xen=_NO, kvm=_NO, qemu=_NO),
        lambda lab: lab.power_off(1, Id.CPU_FREEZE),
        source="DEN0022, CPU_FREEZE",
        on=[1],
    ),
]
