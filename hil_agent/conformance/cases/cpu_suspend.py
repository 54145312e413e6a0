"""CPU_SUSPEND: standby, power-down with re-entry, and what makes a power state a bad one."""

from __future__ import annotations

from collections.abc import Mapping

from hil_agent.conformance.case import Argument, Call, Case, Landing, Mpidr, Scenario, scenario
from hil_agent.conformance.devices import enable_mmu, no_timer, timer
from hil_agent.conformance.entry_state import entry_cases, mark, observe_entry
from hil_agent.conformance.function_ids import Id
from hil_agent.conformance.lab import Lab
from hil_agent.conformance.observation import (
    NO,
    YES,
    Answer,
    Enters,
    Event,
    Expected,
    Observation,
    Returns,
    expect,
)
from hil_agent.psci import ReturnCode

_INVALID, _ADDRESS = ReturnCode.INVALID_PARAMETERS, ReturnCode.INVALID_ADDRESS
_NO_MEMORY = 0x10_0000_0000
_GARBAGE = 0xDEAD_BEEF << 32
_POWER_DOWN = 1 << 16
_CONTEXT = 0x1122_3344_5566_7788
_WAIT_S = 0.02
_LONG_S = 0.4
"""Long beside what it takes to talk to the probe on a busy host."""

_SOURCE = (
    "DEN0022, CPU_SUSPEND; Xen, KVM and QEMU wait for an interrupt, whatever the power state, "
    "and return; QEMU refuses levels (target/arm/psci.c); measured"
)
_EMULATED = ("xen", "xen_v16", "kvm", "qemu")


def _suspends(name: str, call: Call, expected: Expected, *, after_s: float = _WAIT_S) -> Scenario:
    """A call that a timer ends."""

    def observe(lab: Lab) -> Observation:
        with timer(lab, after_s):
            return lab.call(call)

    what = f", with a timer after {after_s:g} s"
    return scenario(f"cpu_suspend.{name}", call, expected, observe, source=_SOURCE, skip=no_timer, what=what)


def _waits(lab: Lab) -> Observation:
    with timer(lab, _LONG_S):
        deadline = lab.probe.read_system_register("CNTV_CVAL_EL0")
        lab.call(Call(Id.CPU_SUSPEND64, (0,)))
        return YES if lab.probe.record(0).time >= deadline else NO


def _affinity_meanwhile(lab: Lab) -> Observation:
    """Of a vCPU that is suspended until its timer goes off."""
    with timer(lab, _LONG_S, cpu=1):
        lab.prepare(Call(Id.CPU_SUSPEND64, (0,), cpu=1))
        lab.probe.go()
        came = lab.call(Call(Id.AFFINITY_INFO64, (Mpidr(1), 0)))
        asked = lab.probe.record(0).time
        lab.probe.arrival(1, _LONG_S)
        return came if asked <= lab.probe.record(1).time else Event("it was back already")


def _power_down(lab: Lab) -> Mapping[str, Observation]:
    mark(lab, 0)
    enable_mmu(lab.probe)
    with timer(lab, _WAIT_S):
        came = lab.call(Call(Id.CPU_SUSPEND64, (_POWER_DOWN, Landing(3), _CONTEXT)))
        seen = observe_entry(lab, 0, "cpu_suspend.entry") if isinstance(came, Enters) else {}
    return {"cpu_suspend.power_down.with_mmu": came, **seen}


def _statistics(lab: Lab) -> Mapping[str, Observation]:
    count = Call(Id.PSCI_STAT_COUNT64, (Mpidr(0), _POWER_DOWN))
    residency = Call(Id.PSCI_STAT_RESIDENCY64, (Mpidr(0), _POWER_DOWN))

    def numbers() -> list[int]:
        return [came.x0 if isinstance(came := lab.call(call), Returns) else -1 for call in (count, residency)]

    before = numbers()
    with timer(lab, _WAIT_S):
        lab.call(Call(Id.CPU_SUSPEND64, (_POWER_DOWN, Landing(), 0)))
    after = numbers()
    return {
        "cpu_suspend.stat_count": Returns(after[0] - before[0]),
        "cpu_suspend.stat_residency": YES if after[1] > before[1] else NO,
    }


def _at_secondary(lab: Lab) -> Observation:
    call = Call(Id.CPU_SUSPEND64, (_POWER_DOWN, Landing(4), _CONTEXT), cpu=1)
    with timer(lab, _WAIT_S, cpu=1):
        return lab.call(call)


_ENTERS = Enters(_CONTEXT)
_RETURN: dict[str, Answer] = dict.fromkeys(_EMULATED, 0)
_LACK: dict[str, Answer] = dict.fromkeys(_EMULATED, ReturnCode.NOT_SUPPORTED)


def _power_down_call(entry: Argument, context_id: int, power_state: int = _POWER_DOWN) -> Call:
    return Call(Id.CPU_SUSPEND64, (power_state, entry, context_id))


SCENARIOS = [
    _suspends("standby.64", Call(Id.CPU_SUSPEND64, (0,)), expect(0)),
    _suspends("standby.32", Call(Id.CPU_SUSPEND32, (0,)), expect(0)),
    _suspends("standby.pending", Call(Id.CPU_SUSPEND64, (0,)), expect(0), after_s=0),
    _suspends("standby.no_entry", Call(Id.CPU_SUSPEND64, (0, 1)), expect(0)),
    _suspends("power_down.64", _power_down_call(Landing(), _CONTEXT), expect(_ENTERS, **_RETURN)),
    _suspends("power_down.context_0", _power_down_call(Landing(31), 0), expect(Enters(0), **_RETURN)),
    _suspends(
        "power_down.state_id",
        _power_down_call(Landing(), _CONTEXT, _POWER_DOWN | 0x33),
        expect((_ENTERS, _INVALID), **_RETURN),
    ),
    _suspends(
        "power_down.pending",
        _power_down_call(Landing(), _CONTEXT),
        expect((_ENTERS, 0), **_RETURN),
        after_s=0,
    ),
    _suspends("power_down.odd", _power_down_call(Landing(offset=1), 0), expect(_ADDRESS, **_RETURN)),
    _suspends("power_down.no_memory", _power_down_call(_NO_MEMORY, 0), expect(_ADDRESS, **_RETURN)),
    _suspends(
        "power_down.32",
        Call(Id.CPU_SUSPEND32, (_POWER_DOWN, Landing(1), 0x3232)),
        expect(Enters(0x3232), **_RETURN),
    ),
    _suspends(
        "power_down.32.garbage",
        Call(Id.CPU_SUSPEND32, (_POWER_DOWN, Landing(1, _GARBAGE), _GARBAGE | 0x3232)),
        expect(Enters(0x3232), **_RETURN),
    ),
    *(
        _suspends(
            f"reserved.bit{bit}", _power_down_call(Landing(), 0, 1 << bit), expect(_INVALID, xen=0, kvm=0)
        )
        for bit in (17, 23, 26, 30, 31)
    ),
    _suspends("reserved.32", Call(Id.CPU_SUSPEND32, (1 << 17,)), expect(_INVALID, xen=0, kvm=0)),
    _suspends(
        "level3", _power_down_call(Landing(), 0, 0x301_0000), expect(None, xen=0, kvm=0, qemu=_INVALID)
    ),
    _suspends("default.64", Call(Id.CPU_DEFAULT_SUSPEND64, (Landing(2), _CONTEXT)), expect(_ENTERS, **_LACK)),
    _suspends(
        "default.32", Call(Id.CPU_DEFAULT_SUSPEND32, (Landing(2), 0x3232)), expect(Enters(0x3232), **_LACK)
    ),
    scenario(
        "cpu_suspend.waits",
        Call(Id.CPU_SUSPEND64, (0,)),
        expect(YES),
        _waits,
        source=_SOURCE,
        skip=no_timer,
        what=" returns only when the timer has gone off",
    ),
    scenario(
        "cpu_suspend.affinity",
        Call(Id.AFFINITY_INFO64, (Mpidr(1), 0)),
        expect(0),
        _affinity_meanwhile,
        source="DEN0022, AFFINITY_INFO: a suspended core is on",
        on=[1],
        skip=no_timer,
        what=" while cpu1 is in CPU_SUSPEND",
    ),
    scenario(
        "cpu_suspend.secondary",
        Call(Id.CPU_SUSPEND64, (_POWER_DOWN, Landing(4), _CONTEXT), cpu=1),
        expect(_ENTERS, **_RETURN),
        _at_secondary,
        source=_SOURCE,
        on=[1],
        skip=no_timer,
        what=", with a timer",
    ),
    Scenario(
        cases=(
            Case(
                "cpu_suspend.power_down.with_mmu",
                "CPU_SUSPEND64(power-down, entry3), with the MMU on",
                expect(_ENTERS, xen=None, kvm=None, qemu=None),
                _SOURCE,
            ),
            *entry_cases("cpu_suspend.entry", "CPU_SUSPEND64(power-down)", but=_EMULATED),
        ),
        run=_power_down,
        skip=no_timer,
    ),
    Scenario(
        cases=(
            Case(
                "cpu_suspend.stat_count",
                "PSCI_STAT_COUNT64(cpu0, power-down), how many more after CPU_SUSPEND64",
                expect(1, xen=None, kvm=None, qemu=None),
                "DEN0022, PSCI_STAT_COUNT",
            ),
            Case(
                "cpu_suspend.stat_residency",
                "PSCI_STAT_RESIDENCY64(cpu0, power-down) goes up over CPU_SUSPEND64",
                expect(YES, xen=None, kvm=None, qemu=None),
                "DEN0022, PSCI_STAT_RESIDENCY",
            ),
        ),
        run=_statistics,
        skip=no_timer,
    ),
]
