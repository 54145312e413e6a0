"""Runs scenarios on a machine, and judges what they bring to light."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from hil_agent.conformance.case import Case, Scenario
from hil_agent.conformance.lab import Lab
from hil_agent.conformance.observation import Observation, Returns
from hil_agent.errors import TargetError
from hil_agent.psci import ReturnCode
from hil_agent.psci.functions import MASK64

_NOT_SUPPORTED = Returns(ReturnCode.NOT_SUPPORTED & MASK64)


class Verdict(StrEnum):
    """How a case went."""

    FAILED = "failed"
    PASSED = "passed"
    LACKS = "lacks"
    """As expected of the profile: it has not what the specification has."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Result:
    """One case on one machine.

    Attributes:
        expected: in words.
        got: likewise; of a skipped case, why.
    """

    case: Case
    verdict: Verdict
    expected: str
    got: str


def select(scenarios: Iterable[Scenario], profile: str, pattern: str = "*") -> list[Scenario]:
    """What is to be done for the cases whose names match ``pattern`` and that expect anything of ``profile``.

    Scenarios that need the same vCPUs on follow one another, as power takes time; those that end the machine
    are last.
    """
    chosen = []
    for scenario in scenarios:
        cases = tuple(
            case for case in scenario.cases if fnmatchcase(case.name, pattern) and case.expected.of(profile)
        )
        if cases:
            chosen.append(replace(scenario, cases=cases))
    return sorted(chosen, key=lambda scenario: (scenario.last, sorted(scenario.on)))


def run(lab: Lab, scenarios: Iterable[Scenario], profile: str) -> Iterator[Result]:
    """Does scenario after scenario.

    Args:
        lab: where.
        scenarios: what.
        profile: whose expectations count, a profile's or `observation.BUILTIN`'s.
    """
    for scenario in scenarios:
        reason = _obstacle(lab, scenario)
        got: dict[str, Observation | str] = {}
        if reason is None:
            try:
                lab.arrange(scenario.on)
                got |= scenario.run(lab)
            except TargetError as error:
                lab.give_up()
                got |= {case.name: error.message for case in scenario.cases if case.name not in got}
        for case in scenario.cases:
            yield _judge(case, profile, got.get(case.name), reason)


def _obstacle(lab: Lab, scenario: Scenario) -> str | None:
    if scenario.cpus > lab.cpus:
        return f"needs {scenario.cpus} vCPUs"
    return scenario.skip(lab)


def _judge(case: Case, profile: str, got: Observation | str | None, skipped: str | None) -> Result:
    expected = case.expected.of(profile)
    words = " or ".join(map(str, expected))
    if skipped is not None:
        return Result(case, Verdict.SKIPPED, words, skipped)
    if got is None or got not in expected:
        return Result(case, Verdict.FAILED, words, "nothing was seen" if got is None else str(got))
    lacks = got == _NOT_SUPPORTED and _NOT_SUPPORTED not in case.expected.of("spec")
    return Result(case, Verdict.LACKS if lacks else Verdict.PASSED, words, str(got))
