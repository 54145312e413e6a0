"""The state in which a vCPU enters the probe: what can be looked at, and the cases that do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from hil_agent.conformance.case import Case
from hil_agent.conformance.devices import MMU_AND_CACHES
from hil_agent.conformance.lab import Lab
from hil_agent.conformance.observation import KEPT, NO, YES, Answer, Observation, Value, expect
from hil_agent.conformance.probe import Record

_PSTATE_EL_SP, _PSTATE_DAIF, _PSTATE_NZCV = 0xD, 0x3C0, 0xF000_0000
_EL1H, _DAIF, _DAIF_BUT_D, _Z = 0x5, 0x3C0, 0x1C0, 0x4000_0000
_EE = 1 << 25
_AFFINITY = 0xFF_00FF_FFFF
_FPEN = 3 << 20
_SCTLR, _SCTLR_QEMU = 0x00C5_0078, 0x00C5_0838
_UNKNOWN = 0x1DE7_EC7E_DBAD_C0DE
"""What KVM resets a register to that is architecturally UNKNOWN (sys_regs.h)."""

MARKS = {
    "MAIR_EL1": 0xFF00,
    "CONTEXTIDR_EL1": 0x1234,
    "TPIDR_EL0": 0x7E57_E100,
    "TPIDR_EL1": 0x7E57_E111,
    "CNTKCTL_EL1": 0x3,
    "TTBR1_EL1": 0x4012_3000,
    "SP_EL0": 0x4012_3450,
}
"""What is written to a vCPU's registers before it is switched off, or suspended."""

_SPEC = "DEN0022, the core's state at an entry point: CPU_ON, CPU_SUSPEND, SYSTEM_SUSPEND"
_MEASURED = (
    "Xen domain.c arch_set_info_guest; Linux kvm/reset.c kvm_reset_vcpu, sys_regs.c; "
    "QEMU target/arm/arm-powerctl.c; measured"
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A vCPU as it entered the probe, with those of its system registers that the probe leaves alone."""

    record: Record
    system: Mapping[str, int]
    affinity: int
    vectors: int

    @classmethod
    def look(cls, lab: Lab, cpu: int) -> _Entry:
        """Looks at a vCPU that has entered the probe and has done nothing since."""
        probe = lab.probe
        record = probe.record(cpu)
        system = {name: probe.read_system_register(name, cpu) for name in _READ}
        return cls(record, system, probe.mpidrs[cpu], probe.vectors)


@dataclass(frozen=True, slots=True)
class _Aspect:
    """One thing to look at, and what it should be."""

    look: Callable[[_Entry], Observation | int]
    expected: Mapping[str, Answer]
    source: str = _MEASURED
    kept: Answer = None
    """What it was before, if Xen keeps it."""


def _system(name: str, **expected: Answer) -> _Aspect:
    return _Aspect(lambda entry: entry.system[name], expected)


def _kept(name: str, **expected: Answer) -> _Aspect:
    return _Aspect(lambda entry: entry.system[name], expected, kept=MARKS[name])


def _record(look: Callable[[Record], int], source: str = _MEASURED, **expected: Answer) -> _Aspect:
    return _Aspect(lambda entry: look(entry.record), expected, source)


def _vectors(entry: _Entry) -> Observation | int:
    return KEPT if entry.record.vbar == entry.vectors else entry.record.vbar


_ASPECTS = {
    "exception_level": _record(lambda record: record.pstate & _PSTATE_EL_SP, _SPEC, spec=_EL1H),
    "daif": _record(
        lambda record: record.pstate & _PSTATE_DAIF,
        f"{_SPEC}; Xen ad8663a75a",
        spec=_DAIF,
        xen_v16=_DAIF_BUT_D,
    ),
    "mmu_and_caches": _Aspect(lambda entry: entry.system["SCTLR_EL1"] & MMU_AND_CACHES, {"spec": 0}, _SPEC),
    "endianness": _Aspect(lambda entry: entry.system["SCTLR_EL1"] & _EE, {"spec": 0}, _SPEC),
    "mpidr": _Aspect(
        lambda entry: YES if entry.system["MPIDR_EL1"] & _AFFINITY == entry.affinity else NO,
        {"spec": YES},
        f"{_SPEC}; Linux sleep.S picks the context by MPIDR",
    ),
    "nzcv": _record(lambda record: record.pstate & _PSTATE_NZCV, xen=0, kvm=0, qemu=_Z),
    "x1_to_x30": _record(lambda record: max(record.x[1:]), xen=0, kvm=0, qemu=0),
    "sp_el1": _record(lambda record: record.sp, xen=0, qemu=0),
    "sp_el0": _system("SP_EL0", xen=0, kvm=0, qemu=0),
    "elr": _record(lambda record: record.elr, xen=0, qemu=0),
    "spsr": _record(lambda record: record.spsr, xen=0, qemu=0),
    "esr": _record(lambda record: record.esr, kvm=_UNKNOWN, qemu=0),
    "sctlr": _system("SCTLR_EL1", xen=_SCTLR, kvm=_SCTLR, qemu=_SCTLR_QEMU, builtin=None),
    "ttbr0": _system("TTBR0_EL1", xen=0, kvm=_UNKNOWN, qemu=0),
    "ttbr1": _system("TTBR1_EL1", xen=0, kvm=_UNKNOWN, qemu=0),
    "tcr": _system("TCR_EL1", xen=0, kvm=0, qemu=0),
    "mair": _kept("MAIR_EL1", kvm=_UNKNOWN, qemu=0),
    "vbar": _Aspect(_vectors, {"kvm": 0, "qemu": 0}, kept=KEPT),
    "cpacr": _Aspect(lambda entry: entry.record.cpacr, {"kvm": 0, "qemu": 0}, kept=_FPEN),
    "contextidr": _kept("CONTEXTIDR_EL1", kvm=0, qemu=0),
    "tpidr_el0": _kept("TPIDR_EL0", kvm=_UNKNOWN, qemu=0),
    "tpidr_el1": _kept("TPIDR_EL1", kvm=_UNKNOWN, qemu=0),
    "cntkctl": _kept("CNTKCTL_EL1", kvm=0, qemu=0),
    "mdscr": _system("MDSCR_EL1", xen=0, kvm=0, qemu=0),
}
"""By name. What the specification leaves open has no expectation of its."""

_READ = (*MARKS, "SCTLR_EL1", "TTBR0_EL1", "TCR_EL1", "MDSCR_EL1", "MPIDR_EL1")


def mark(lab: Lab, cpu: int) -> None:
    """Leaves marks in the registers of a vCPU, to see later what has become of them."""
    for name, value in MARKS.items():
        lab.probe.write_system_register(name, value, cpu)


def entry_cases(topic: str, call: str, *, but: Iterable[str] = ()) -> tuple[Case, ...]:
    """A case for each aspect of an entry.

    Args:
        topic: first part of their names.
        call: what leads to the entry.
        but: profiles in which it does not.
    """
    nowhere = dict.fromkeys(but, None)
    return tuple(
        Case(
            f"{topic}.{name}",
            f"{call}, then {name}",
            expect(**{"spec": None, **_expected(aspect), **nowhere}),
            aspect.source,
        )
        for name, aspect in _ASPECTS.items()
    )


def observe_entry(lab: Lab, cpu: int, topic: str) -> Mapping[str, Observation]:
    """What the cases of `entry_cases` see of a vCPU that has entered the probe and done nothing since."""
    entry = _Entry.look(lab, cpu)
    return {f"{topic}.{name}": _observation(aspect.look(entry)) for name, aspect in _ASPECTS.items()}


def _expected(aspect: _Aspect) -> dict[str, Answer]:
    """By profile; numbers are values here, not what a call returns."""
    known = {name: _value(answer) for name, answer in aspect.expected.items()}
    return known if aspect.kept is None else {**known, "xen": _value(aspect.kept)}


def _value(answer: Answer) -> Answer:
    return Value(answer) if isinstance(answer, int) else answer


def _observation(seen: Observation | int) -> Observation:
    return Value(seen) if isinstance(seen, int) else seen
