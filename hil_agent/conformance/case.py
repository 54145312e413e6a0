"""Cases: what is asked, what should come of it, and who says so. All that is known of PSCI is in `cases`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from hil_agent.conformance.function_ids import name_of
from hil_agent.conformance.observation import Expected, Observation
from hil_agent.psci import Conduit

if TYPE_CHECKING:
    from hil_agent.conformance.lab import Lab


@dataclass(frozen=True, slots=True)
class Mpidr:
    """Stands for the MPIDR affinity of a vCPU, with bits of ``extra`` set that are not part of it."""

    cpu: int
    extra: int = 0

    def __str__(self) -> str:
        return f"cpu{self.cpu}" + (f"|{self.extra:#x}" if self.extra else "")


@dataclass(frozen=True, slots=True)
class Landing:
    """Stands for the address of one of the probe's entry points, ``offset`` bytes off."""

    number: int = 0
    offset: int = 0

    def __str__(self) -> str:
        return (
            "entry"
            + (f"{self.number}" if self.number else "")
            + (f"+{self.offset:#x}" if self.offset else "")
        )


Argument: TypeAlias = int | Mpidr | Landing


@dataclass(frozen=True, slots=True)
class Call:
    """A call to be made.

    Attributes:
        function_id: x0, 64 bits.
        args: x1 to x3; those that are left out are 0.
        cpu: index of the calling vCPU.
        conduit: None: the one that the guest is told to use.
        immediate: of the instruction, 16 bits.
    """

    function_id: int
    args: tuple[Argument, ...] = ()
    cpu: int = 0
    conduit: Conduit | None = None
    immediate: int = 0

    def __str__(self) -> str:
        args = ", ".join(hex(arg) if isinstance(arg, int) else str(arg) for arg in self.args)
        by = f"cpu{self.cpu}: " if self.cpu else ""
        conduit = f" by {self.conduit.value}" if self.conduit else ""
        return f"{by}{name_of(self.function_id)}({args}){conduit}" + (
            f" #{self.immediate:#x}" if self.immediate else ""
        )


@dataclass(frozen=True, slots=True)
class Case:
    """One expectation.

    Attributes:
        name: topic and what about it, with dots.
        call: what is done, in words.
        expected: what should be seen.
        source: who says so.
    """

    name: str
    call: str
    expected: Expected
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Something that is done once, and all the cases that it settles.

    Attributes:
        cases: each is settled by the observation of its name.
        run: does it.
        on: indices of the vCPUs that are on when it begins, besides vCPU 0.
        cpus: how many vCPUs the machine must have.
        last: it ends the machine, or may lose a vCPU for good: better done after all others.
        skip: why it cannot be done on a machine, if so.
    """

    cases: tuple[Case, ...]
    run: Callable[[Lab], Mapping[str, Observation]]
    on: frozenset[int] = frozenset()
    cpus: int = 1
    last: bool = False
    skip: Callable[[Lab], str | None] = lambda _: None


def ask(
    name: str, call: Call, expected: Expected, *, source: str, on: Sequence[int] = (), last: bool = False
) -> Scenario:
    """A call that is expected to come back."""
    return scenario(name, call, expected, lambda lab: lab.call(call), source=source, on=on, last=last)


def scenario(
    name: str,
    call: Call,
    expected: Expected,
    observe: Callable[[Lab], Observation],
    *,
    source: str,
    on: Sequence[int] = (),
    last: bool = False,
    skip: Callable[[Lab], str | None] = lambda _: None,
    what: str = "",
) -> Scenario:
    """A single case.

    Args:
        name: of the case.
        call: the call that it is about.
        expected: what is right.
        observe: makes the call, and tells what came of it.
        source: who says what is right.
        on: vCPUs that are on before.
        last: see `Scenario`.
        skip: likewise.
        what: words to add to the call.
    """
    named = [arg.cpu for arg in call.args if isinstance(arg, Mpidr)]
    return Scenario(
        cases=(Case(name, f"{call}{what}", expected, source),),
        run=lambda lab: {name: observe(lab)},
        on=frozenset(on),
        cpus=1 + max((call.cpu, *on, *named)),
        last=last,
        skip=skip,
    )
