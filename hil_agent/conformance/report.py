"""What a run has brought to light, as documents for other programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from hil_agent.conformance.runner import Result, Verdict

_FEATURES = "features."


@dataclass(frozen=True, slots=True)
class Report:
    """One run.

    Attributes:
        board: name of the board.
        profile: whose expectations counted.
        builtin: whether it was QEMU's own PSCI that was examined.
        cpus: number of vCPUs.
        results: of every case, failures first.
    """

    board: str
    profile: str
    builtin: bool
    cpus: int
    results: Sequence[Result]

    @property
    def counts(self) -> dict[str, int]:
        """How many cases had each verdict."""
        found = Counter(result.verdict for result in self.results)
        return {verdict.value: found[verdict] for verdict in Verdict}

    @property
    def lacking(self) -> list[str]:
        """Functions that the specification has, and PSCI_FEATURES denies."""
        return [
            result.case.name.removeprefix(_FEATURES)
            for result in self.results
            if result.verdict is Verdict.LACKS and result.case.name.startswith(_FEATURES)
        ]

    def document(self) -> dict[str, object]:
        """Everything, for JSON."""
        return {
            "board": self.board,
            "profile": self.profile,
            "builtin": self.builtin,
            "cpus": self.cpus,
            **self.counts,
            "lacking": self.lacking,
            "results": [
                {
                    "name": result.case.name,
                    "call": result.case.call,
                    "verdict": result.verdict.value,
                    "expected": result.expected,
                    "got": result.got,
                    "source": result.case.source,
                }
                for result in self.results
            ],
        }

    def junit(self) -> bytes:
        """JUnit's XML, as continuous integration reads it: a test case for each of ours, lacks are passes."""
        counts = self.counts
        suite = ElementTree.Element(
            "testsuite",
            name=f"{self.board}.{self.profile}",
            tests=str(len(self.results)),
            failures=str(counts[Verdict.FAILED]),
            skipped=str(counts[Verdict.SKIPPED]),
        )
        for result in self.results:
            topic, _, rest = result.case.name.partition(".")
            case = ElementTree.SubElement(suite, "testcase", classname=topic, name=rest or topic)
            words = f"{result.case.call}: expected {result.expected}, got {result.got}"
            match result.verdict:
                case Verdict.FAILED:
                    ElementTree.SubElement(case, "failure", message=words).text = result.case.source
                case Verdict.SKIPPED:
                    ElementTree.SubElement(case, "skipped", message=result.got)
                case _:
                    pass
        xml: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
        return xml


def ordered(results: Sequence[Result]) -> list[Result]:
    """Failures first, then by what came of them, in the order in which they were done."""
    rank = {verdict: number for number, verdict in enumerate(Verdict)}
    return sorted(results, key=lambda result: rank[result.verdict])
