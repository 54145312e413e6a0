"""Faults that are put into the vPSCI of a session's process, to see that the conformance cases notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

from hil_agent.psci import Call, Conduit, Effect, EntryState, Function, Outcome, ReturnCode, VirtualPsci
from hil_agent.psci.effects import InjectUndefined, PowerDown, PowerOff, PowerOn, Return, Standby, SystemOff
from hil_agent.psci.functions import MASK64

Change = Callable[[Outcome], Outcome]
EntryChange = Callable[[EntryState], EntryState]


def answer(*values: int) -> Change:
    """The call returns, whatever else it does."""

    def change(outcome: Outcome) -> Outcome:
        others = tuple(effect for effect in outcome.effects if not isinstance(effect, Return))
        return Outcome((*others, Return(tuple(value & MASK64 for value in values))), values[0] & MASK64)

    return change


def without(*kinds: type) -> Change:
    """An effect is left out."""
    return lambda outcome: replace(
        outcome, effects=tuple(effect for effect in outcome.effects if not isinstance(effect, kinds))
    )


def in_place_of(old: ReturnCode, new: int) -> Change:
    """One return code becomes another."""
    return lambda outcome: answer(new)(outcome) if outcome.result == old & MASK64 else outcome


def only(*effects: InjectUndefined | PowerOff | SystemOff | Return) -> Change:
    """Something else happens."""
    return lambda _: Outcome(effects)


CALLS: dict[str, tuple[Function | None, Change]] = {
    "wrong version": (Function.PSCI_VERSION, answer(0x10009)),
    "x4 is lost": (Function.PSCI_VERSION, answer(0x10001, 0, 0, 0, 0)),
    "x1 is lost": (Function.MIGRATE_INFO_TYPE, answer(2, 0)),
    "unknown IDs succeed": (None, answer(0)),
    "features deny": (Function.PSCI_FEATURES, answer(ReturnCode.NOT_SUPPORTED)),
    "vCPUs are always on": (Function.AFFINITY_INFO, answer(0)),
    "CPU_ON of a vCPU that is on succeeds": (Function.CPU_ON, in_place_of(ReturnCode.ALREADY_ON, 0)),
    "CPU_ON of an absent vCPU succeeds": (Function.CPU_ON, in_place_of(ReturnCode.INVALID_PARAMETERS, 0)),
    "CPU_ON takes any entry": (Function.CPU_ON, in_place_of(ReturnCode.INVALID_ADDRESS, 0)),
    "CPU_ON is lost": (Function.CPU_ON, without(PowerOn)),
    "CPU_OFF returns": (Function.CPU_OFF, only(Return((0,)))),
    "CPU_OFF loses registers": (Function.CPU_OFF, only(PowerOff())),
    "standby does not wait": (Function.CPU_SUSPEND, without(Standby)),
    "power-down does nothing": (Function.CPU_SUSPEND, only(Return((0,)))),
    "SYSTEM_SUSPEND is not denied": (Function.SYSTEM_SUSPEND, in_place_of(ReturnCode.DENIED, 0)),
    "SYSTEM_RESET switches off": (Function.SYSTEM_RESET, only(SystemOff())),
    "SYSTEM_OFF returns": (Function.SYSTEM_OFF, only(Return((0,)))),
}

ENTRIES: dict[str, EntryChange] = {
    "enters an instruction late": lambda entry: replace(entry, pc=entry.pc + 4),
    "context ID is lost": lambda entry: replace(entry, x0=0),
    "debug exceptions are not masked": lambda entry: replace(entry, pstate=entry.pstate & ~0x200),
    "caches are on": lambda entry: replace(
        entry, system_registers={**entry.system_registers, "SCTLR_EL1": 0x00C5_0078 | 1 << 2}
    ),
    "x30 is not zero": lambda entry: replace(entry, general_registers={**entry.general_registers, "x30": 1}),
    "VBAR_EL1 is lost": lambda entry: replace(
        entry, system_registers={**entry.system_registers, "VBAR_EL1": 0x1000}
    ),
}


def apply(name: str) -> None:
    """Puts a fault in."""
    original_call, original_resume = VirtualPsci.call, VirtualPsci.resume

    def call(vpsci: VirtualPsci, made: Call) -> Outcome:
        if name == "smc is refused" and made.conduit is Conduit.SMC:
            return answer(ReturnCode.NOT_SUPPORTED)(Outcome(()))
        if name == "CPU_OFF returns" and made.function is Function.CPU_OFF:
            return CALLS[name][1](Outcome(()))
        outcome = original_call(vpsci, made)
        if name in CALLS and made.function is CALLS[name][0]:
            return CALLS[name][1](outcome)
        if name in ENTRIES:
            return replace(outcome, effects=tuple(map(changed, outcome.effects)))
        return outcome

    def changed(effect: Effect) -> Effect:
        if isinstance(effect, PowerOn | PowerDown):
            return replace(effect, entry=ENTRIES[name](effect.entry))
        return effect

    def resume(vpsci: VirtualPsci) -> EntryState | None:
        entry = original_resume(vpsci)
        return ENTRIES[name](entry) if entry is not None and name in ENTRIES else entry

    patch.object(VirtualPsci, "call", call).start()
    patch.object(VirtualPsci, "resume", resume).start()
