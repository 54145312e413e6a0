"""Several vCPUs that start another one at the same moment: one of them does, and its call counts."""

from __future__ import annotations

from collections.abc import Mapping

from hil_agent.conformance.case import Call, Case, Landing, Mpidr, Scenario
from hil_agent.conformance.function_ids import Id
from hil_agent.conformance.lab import Lab
from hil_agent.conformance.observation import Enters, Event, Observation, Returns, expect
from hil_agent.psci import ReturnCode
from hil_agent.psci.functions import MASK64

_CALLERS = (0, 1, 2)
_TARGET = 3
_ROUNDS = 4
_ANSWER_S = 1.0
_LATE = {Returns(code & MASK64) for code in (ReturnCode.ALREADY_ON, ReturnCode.ON_PENDING)}

_ONE = Event("one wins")
_WINNER = Event("started by the winner's call")

_SOURCE = (
    "DEN0022, CPU_ON: ALREADY_ON or ON_PENDING for all but one; Linux 6c7a5dce22b3; bao-hypervisor #386; "
    "QEMU arm-powerctl.c never says ON_PENDING and lets several win (seen on 7.2 and 10.0)"
)


def _call(caller: int) -> Call:
    """Each asks for an entry point and a context ID of its own."""
    return Call(Id.CPU_ON64, (Mpidr(_TARGET), Landing(8 + caller), _context_id(caller)), cpu=caller)


def _context_id(caller: int) -> int:
    return 0x5000 + caller


def _race(lab: Lab) -> Mapping[str, Observation]:
    seen: Mapping[str, Observation] = {}
    for _ in range(_ROUNDS):
        seen = _round(lab)
        if any(seen[case.name] not in case.expected.of("spec") for case in _CASES):
            break
    return seen


def _round(lab: Lab) -> Mapping[str, Observation]:
    calls = {caller: _call(caller) for caller in _CALLERS}
    at = {caller: lab.prepare(call) for caller, call in calls.items()}
    lab.probe.go()
    came = {
        caller: lab.observe(call, at[caller], lab.probe.arrival(caller, _ANSWER_S))
        for caller, call in calls.items()
    }
    winners = [caller for caller, answer in came.items() if answer == Returns(0)]
    right = len(winners) == 1 and all(came[caller] in _LATE for caller in _CALLERS if caller not in winners)
    target = lab.arrived(_TARGET)
    started_by = [
        caller
        for caller in winners
        if target and lab.entered(calls[caller], target) == Enters(_context_id(caller))
    ]
    if target:
        lab.power_off(_TARGET)
    answers = ", ".join(f"cpu{caller}: {answer}" for caller, answer in came.items())
    return {
        "race.winners": _ONE if right else Event(answers),
        "race.started_by": _WINNER if started_by else Event(f"started by no winner's call: {target}"),
    }


_CASES = (
    Case("race.winners", f"cpu0, cpu1, cpu2 at once: {_call(0)}", expect(_ONE, builtin=None), _SOURCE),
    Case("race.started_by", f"then how cpu{_TARGET} is entered", expect(_WINNER), _SOURCE),
)

SCENARIOS = [Scenario(cases=_CASES, run=_race, on=frozenset({1, 2}), cpus=4)]
