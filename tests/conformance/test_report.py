from __future__ import annotations

from xml.etree import ElementTree

from hil_agent.conformance.case import Case
from hil_agent.conformance.observation import expect
from hil_agent.conformance.report import Report, ordered
from hil_agent.conformance.runner import Result, Verdict


def result(name: str, verdict: Verdict) -> Result:
    return Result(Case(name, f"CALL({name})", expect(0), "the source"), verdict, "0x0", "<1>")


RESULTS = [
    result("a.b", Verdict.PASSED),
    result("features.CPU_FREEZE", Verdict.LACKS),
    result("node.self", Verdict.LACKS),
    result("c", Verdict.SKIPPED),
    result("d.e.f", Verdict.FAILED),
]
REPORT = Report("board", "xen", builtin=False, cpus=4, results=ordered(RESULTS))


def test_failures_come_first() -> None:
    assert [each.verdict for each in REPORT.results] == [
        Verdict.FAILED,
        Verdict.PASSED,
        Verdict.LACKS,
        Verdict.LACKS,
        Verdict.SKIPPED,
    ]


def test_functions_that_are_lacking_are_named() -> None:
    assert REPORT.lacking == ["CPU_FREEZE"]


def test_the_document_has_counts_and_every_result() -> None:
    document = REPORT.document()
    assert {name: document[name] for name in ("failed", "passed", "lacks", "skipped")} == {
        "failed": 1,
        "passed": 1,
        "lacks": 2,
        "skipped": 1,
    }
    results = document["results"]
    assert isinstance(results, list)
    assert results[0] == {
        "name": "d.e.f",
        "call": "CALL(d.e.f)",
        "verdict": "failed",
        "expected": "0x0",
        "got": "<1>",
        "source": "the source",
    }


def test_junit_has_failures_and_skips() -> None:
    suite = ElementTree.fromstring(REPORT.junit())  # noqa: S314 - our own
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "skipped": "1",
    }
    failure = suite.find("testcase[@classname='d'][@name='e.f']/failure")
    assert failure is not None
    assert (failure.get("message"), failure.text) == ("CALL(d.e.f): expected 0x0, got <1>", "the source")
