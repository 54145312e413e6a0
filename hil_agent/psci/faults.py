"""Faults: deliberate wrong answers, to see what a guest makes of them.

A plan is a list of rules, from a file or from the command line. Each says which calls it is about, on
which of them it fires, and what is done to them then. :class:`FaultInjector` puts a plan in front of a
vPSCI. Its decisions depend on the plan, its seed and the calls so far, so a run can be repeated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from hashlib import blake2b
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias, TypeVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from hil_agent.errors import UsageError
from hil_agent.psci.call import Call
from hil_agent.psci.effects import Delay, Effect, Outcome, PowerDown, PowerOn, Standby, Suspend, Wake
from hil_agent.psci.functions import MASK64, Function, ReturnCode
from hil_agent.psci.vpsci import VirtualPsci

_Member = TypeVar("_Member", bound=Enum)

_LONGEST_US = 3600 * 1_000_000
_WAKES = {"spurious-wake": (0, 1), "duplicate-wake": (0, 2), "reordered-wake": (1, 0)}  # before, after
_SUSPENDS = frozenset({Function.CPU_SUSPEND, Function.CPU_DEFAULT_SUSPEND, Function.SYSTEM_SUSPEND})


def _by_name(members: type[_Member]) -> Callable[[object], object]:
    def find(name: object) -> object:
        if name is None or isinstance(name, members):
            return name
        if not isinstance(name, str) or name not in members.__members__:
            raise ValueError(f"is none of {', '.join(members.__members__)}")
        return members[name]

    return find


_TO_NAME = PlainSerializer(lambda member: None if member is None else member.name)


class _Rule(BaseModel, ABC):
    """What all rules have: which calls, and on which of them it fires."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    possible: ClassVar[frozenset[Function]] = frozenset(Function)
    """What it can be about; where the rule names no function, all of these."""

    kind: str
    name: str = Field(default="", max_length=64, description="What the trace calls it; its kind if left out.")
    function: Annotated[Function | None, BeforeValidator(_by_name(Function)), _TO_NAME] = Field(
        default=None, description="Only calls of this function, in either width."
    )
    cpu: int | None = Field(default=None, ge=0, description="Only calls of the vCPU with this index.")
    nth: int | None = Field(default=None, ge=1, description="Only the n-th of these calls, from 1.")
    probability: float = Field(
        default=1.0, gt=0, le=1, strict=False, description="How likely it fires, on each of these calls."
    )

    @model_validator(mode="after")
    def _can_be_about(self) -> Self:
        if self.function is not None and self.function not in self.possible:
            names = ", ".join(sorted(function.name for function in self.possible))
            raise ValueError(f"{self.function.name} cannot have this fault, only {names}")
        return self

    def matches(self, function: Function | None, cpu: int) -> bool:
        """Whether it is about calls of ``function`` by vCPU ``cpu``."""
        about = function in self.possible if self.function is None else function is self.function
        return about and self.cpu in {None, cpu}

    def fires(self, count: int, seed: str) -> bool:
        """Whether it fires on the ``count``-th call, from 1, that it matches."""
        if self.nth is not None and count != self.nth:
            return False
        drawn = int.from_bytes(blake2b(f"{seed}/{count}".encode(), digest_size=8).digest(), "big")
        return drawn < self.probability * 2.0**64

    @abstractmethod
    def apply(self, psci: VirtualPsci, call: Call) -> Outcome:
        """Answers ``call`` with the fault in it; `Outcome.fault` names it if it made a difference."""

    def _mark(self, outcome: Outcome, effects: tuple[Effect, ...] | None = None) -> Outcome:
        return replace(outcome, effects=effects or outcome.effects, fault=self.name or self.kind)


class ReturnFault(_Rule):
    """The call is not carried out, and is answered with a return code."""

    kind: Literal["return"]
    code: Annotated[ReturnCode, BeforeValidator(_by_name(ReturnCode)), _TO_NAME] = Field(
        description="The return code."
    )

    def apply(self, psci: VirtualPsci, call: Call) -> Outcome:
        """See the base class."""
        return self._mark(psci.refuse(call, self.code))


class DelayFault(_Rule):
    """The answer comes late."""

    kind: Literal["delay"]
    time_us: int = Field(gt=0, le=_LONGEST_US, description="How late, in microseconds of the guest's time.")

    def apply(self, psci: VirtualPsci, call: Call) -> Outcome:
        """See the base class."""
        outcome = psci.call(call)
        return self._mark(outcome, (Delay(self.time_us), *outcome.effects))


class WakeFault(_Rule):
    """What suspends is woken without an interrupt: once, twice, or before it has gone to sleep."""

    possible = _SUSPENDS

    kind: Literal["spurious-wake", "duplicate-wake", "reordered-wake"]
    after_us: int = Field(
        default=0, ge=0, le=_LONGEST_US, description="When, in microseconds of the guest's time."
    )

    def apply(self, psci: VirtualPsci, call: Call) -> Outcome:
        """See the base class."""
        outcome = psci.call(call)
        wake = (Wake(self.after_us),)
        before, after = _WAKES[self.kind]
        for index, effect in enumerate(outcome.effects):
            if isinstance(effect, Standby | PowerDown | Suspend):
                woken = (*wake * before, effect, *wake * after)
                return self._mark(outcome, outcome.effects[:index] + woken + outcome.effects[index + 1 :])
        return outcome


class LostPowerOnFault(_Rule):
    """CPU_ON succeeds, but the target never starts; it can be tried again."""

    possible = frozenset({Function.CPU_ON})

    kind: Literal["lost-power-on"]

    def apply(self, psci: VirtualPsci, call: Call) -> Outcome:
        """See the base class."""
        outcome = psci.call(call)
        lost = [effect.cpu for effect in outcome.effects if isinstance(effect, PowerOn)]
        for cpu in lost:
            psci.power_on_failed(cpu)
        kept = tuple(effect for effect in outcome.effects if not isinstance(effect, PowerOn))
        return self._mark(outcome, kept) if lost else outcome


class CorruptFault(_Rule):
    """The vCPU starts with bits flipped in its entry point or context ID, after both were checked."""

    possible = _SUSPENDS | {Function.CPU_ON}

    kind: Literal["corrupt"]
    entry_point: int = Field(default=0, ge=0, le=MASK64, description="The bits to flip in the entry point.")
    context_id: int = Field(default=0, ge=0, le=MASK64, description="The bits to flip in the context ID.")

    @model_validator(mode="after")
    def _flips_something(self) -> Self:
        if not self.entry_point | self.context_id:
            raise ValueError("flips no bit: give entry_point or context_id")
        return self

    def apply(self, psci: VirtualPsci, call: Call) -> Outcome:
        """See the base class."""
        outcome = psci.call(call)
        effects = tuple(self._corrupt(psci, effect) for effect in outcome.effects)
        return outcome if effects == outcome.effects else self._mark(outcome, effects)

    def _corrupt(self, psci: VirtualPsci, effect: Effect) -> Effect:
        match effect:
            case PowerOn(entry=entry) | PowerDown(entry=entry):
                corrupted = replace(entry, pc=entry.pc ^ self.entry_point, x0=entry.x0 ^ self.context_id)
                return replace(effect, entry=corrupted)
            case Suspend(context):
                psci.edit_context(
                    entry_point=context.entry_point ^ self.entry_point,
                    context_id=context.context_id ^ self.context_id,
                )
                return Suspend(psci.context or context)
            case _:
                return effect


class PreparationFault(_Rule):
    """The context of the vCPU that is to start cannot be prepared, as when Xen has no memory.

    Where a profile prepares it at the resume, it is that which fails.
    """

    possible = frozenset({Function.CPU_ON, Function.SYSTEM_SUSPEND})

    kind: Literal["preparation"]

    def apply(self, psci: VirtualPsci, call: Call) -> Outcome:
        """See the base class."""
        before = psci.preparations_to_fail
        psci.preparations_to_fail += 1
        outcome = psci.call(call)
        has_failed = psci.preparations_to_fail == before
        will_fail = psci.suspended and psci.profile.prepares_at_resume
        if has_failed or will_fail:
            return self._mark(outcome)
        psci.preparations_to_fail = before
        return outcome


FaultRule: TypeAlias = Annotated[
    ReturnFault | DelayFault | WakeFault | LostPowerOnFault | CorruptFault | PreparationFault,
    Field(discriminator="kind"),
]

_RULE: TypeAdapter[Any] = TypeAdapter(FaultRule)


class FaultPlan(BaseModel):
    """A file of faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    seed: int = Field(default=0, description="What the decisions by probability are drawn from.")
    rules: tuple[FaultRule, ...] = Field(
        strict=False, max_length=1000, description="The first rule that fires on a call is applied to it."
    )


def parse_fault(text: str) -> FaultRule:
    """A rule as the command line gives it, such as ``kind=return,function=SYSTEM_SUSPEND,code=DENIED``.

    Raises:
        UsageError: it is not of this form, or does not make a rule.
    """
    fields: dict[str, object] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"fault {text!r}: {part!r} is no FIELD=VALUE")
        try:
            fields[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"fault {text!r}: {value!r} is no value") from error
    try:
        rule: FaultRule = _RULE.validate_python(fields)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        where = ".".join(map(str, wrong["loc"][1:]))
        message = wrong["msg"].removeprefix("Value error, ")
        raise UsageError(f"fault {text!r}: {where + ': ' if where else ''}{message}") from error
    return rule


class FaultInjector:
    """A vPSCI with a plan of faults in front of it.

    Args:
        psci: what answers the calls.
        rules: in the order in which they are asked; the first that fires on a call is applied to it.
        seed: what the decisions by probability are drawn from.
    """

    def __init__(self, psci: VirtualPsci, rules: Sequence[FaultRule], seed: int = 0) -> None:
        self._psci = psci
        self._rules = list(rules)
        self._seed = seed
        self._matched = [0] * len(self._rules)

    @property
    def rules(self) -> Sequence[FaultRule]:
        """The rules, in the order in which they are asked."""
        return self._rules

    def add(self, rule: FaultRule) -> None:
        """One rule more, asked last; it counts calls from now on."""
        self._rules.append(rule)
        self._matched.append(0)

    def clear(self) -> None:
        """No rule any more."""
        self._rules.clear()
        self._matched.clear()

    def concerns(self, function: Function) -> bool:
        """Whether a rule is about calls of ``function``, be it by one vCPU only."""
        return any(rule.matches(function, rule.cpu or 0) for rule in self._rules)

    def call(self, call: Call) -> Outcome:
        """The answer to ``call``; `Outcome.fault` names the fault in it, if there is one.

        Raises:
            InternalError: as for `VirtualPsci.call`.
        """
        if not self._rules:
            return self._psci.call(call)
        function = self._psci.function(call)
        chosen: FaultRule | None = None
        for index, rule in enumerate(self._rules):
            if rule.matches(function, call.cpu):
                self._matched[index] += 1
                if chosen is None and rule.fires(self._matched[index], f"{self._seed}/{index}"):
                    chosen = rule
        return chosen.apply(self._psci, call) if chosen else self._psci.call(call)
