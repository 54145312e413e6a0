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
_LATE = {Returns(code & MASK64) for code in (ReturnCode.ALREADY_ON, ReturnCode.ON_PENDING)}

ONE_WINNER = Event("one wins")
ITS_CALL = Event("started by the winner's call")

_SOURCE = (
    "DEN0022, CPU_ON: ALREADY_ON or ON_PENDING for all but one; Linux 6c7a5dce22b3; bao-hypervisor #386; "
    "QEMU arm-powerctl.c never says ON_PENDING and lets several win (seen on 7.2 and 10.0)"
)


def _call(caller: int) -> Call:
    """Each asks for an entry point and a context ID of its own."""
    return Call(Id.CPU_ON64, (Mpidr(_TARGET), Landing(8 + caller), 0x5000 + caller), cpu=caller)


def _race(lab: Lab) -> Mapping[str, Observation]:
    winners, winner = ONE_WINNER, ITS_CALL
    for number in range(_ROUNDS):
        at = {caller: lab.prepare(_call(caller)) for caller in _CALLERS}
        lab.probe.go()
        came = {
            caller: lab.observe(_call(caller), at[caller], lab.probe.arrival(caller, 1.0))
            for caller in _CALLERS
        }
        won = [caller for caller in _CALLERS if came[caller] == Returns(0)]
        strange = [
            str(answer) for caller, answer in came.items() if caller not in won and answer not in _LATE
        ]
        if len(won) != 1 or strange:
            winners = Event(
                f"round {number}: {len(won)} win, others get {', '.join(strange) or 'what they should'}"
            )
        target = lab.arrived(_TARGET)
        if target is None or not any(
            lab.entered(_call(caller), target) == Enters(0x5000 + caller) for caller in won
        ):
            winner = Event(f"round {number}: started by none of the winners' calls, but {target}")
        if target is None:
            break
        lab.power_off(_TARGET)
    return {"race.winners": winners, "race.winner": winner}


SCENARIOS = [
    Scenario(
        cases=(
            Case(
                "race.winners",
                f"cpu0, cpu1, cpu2 at once: {_call(0)}",
                expect(ONE_WINNER, builtin=None),
                _SOURCE,
            ),
            Case("race.winner", f"then how cpu{_TARGET} is entered", expect(ITS_CALL), _SOURCE),
        ),
        run=_race,
        on=frozenset({1, 2}),
        cpus=4,
    ),
]
