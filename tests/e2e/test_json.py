"""The JSON that other programs build on: every key, and of what kind its value is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from hil_agent.session import Session

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]
Document = Any
"""Parsed JSON."""

CommandLine = Callable[..., subprocess.CompletedProcess[str]]

STATUS = {
    "name": str, "board": str, "guest": str, "state": str, "profile": str, "trap": str, "cpus": list,
    "context": dict, "suspends": int, "resumes": int, "calls": int, "uptime_s": float, "gdb": str | None,
    "console_log": str, "pid": int, "target_pid": int,
}  # fmt: skip
CONTEXT = {"entry_point": str, "context_id": str, "cpu": int, "width": int, "since_s": float}
CPU = {"cpu": int, "mpidr": str, "power": str}
RECORD = {
    "seq": int, "time_s": float, "cpu": int, "conduit": str, "function": str, "function_id": str,
    "args": list, "result": str | None, "value": str | None, "handling_us": float, "fault": str | None,
}  # fmt: skip
HEXADECIMAL = {"entry_point", "context_id", "mpidr", "function_id"}


def misfits(document: dict[str, Any], keys: dict[str, Any]) -> list[str]:
    """Keys that are missing, or hold something of another kind."""
    wrong = [key for key, kind in keys.items() if key not in document or not isinstance(document[key], kind)]
    return wrong + [key for key in HEXADECIMAL & keys.keys() if not document[key].startswith("0x")]


@pytest.fixture(scope="module")
def session(boot_shared: Boot) -> Session:
    """A guest that is suspended for the second time."""
    session = boot_shared(cpus=2, name="json")
    session.suspend()
    session.resume()
    session.settle()
    session.suspend()
    return session


@pytest.fixture
def printed(session: Session, hil_agent_command: CommandLine) -> Callable[..., Document]:
    """The one JSON document that a command prints, and nothing else."""

    def printed(*arguments: str) -> Document:
        done = hil_agent_command(*arguments, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return printed


def test_status(printed: Callable[..., Document]) -> None:
    assert misfits(printed("status", "json"), STATUS) == []


def test_status_of_a_vcpu(printed: Callable[..., Document]) -> None:
    cpus = printed("status", "json")["cpus"]
    assert [misfits(cpu, CPU) for cpu in cpus] == [[], []]
    assert [cpu["power"] for cpu in cpus] == ["suspended", "off"]


def test_status_holds_the_context(printed: Callable[..., Document]) -> None:
    assert misfits(printed("status", "json")["context"], CONTEXT) == []


def test_status_counts(printed: Callable[..., Document]) -> None:
    status = printed("status", "json")
    assert (status["suspends"], status["resumes"], status["calls"]) == (2, 1, len(printed("trace", "json")))


def test_context_show(printed: Callable[..., Document]) -> None:
    assert misfits(printed("context", "show", "json"), CONTEXT) == []


def test_list_is_a_list_of_statuses(printed: Callable[..., Document]) -> None:
    assert [misfits(each, STATUS) for each in printed("list")] == [[]]


def test_a_trace_record(printed: Callable[..., Document]) -> None:
    assert {key for record in printed("trace", "json") for key in misfits(record, RECORD)} == set()


def test_a_trace_is_numbered_from_one_and_in_order(printed: Callable[..., Document]) -> None:
    trace = printed("trace", "json")
    assert [record["seq"] for record in trace] == list(range(1, len(trace) + 1))
    assert [record["time_s"] for record in trace] == sorted(record["time_s"] for record in trace)


def test_a_call_that_does_not_return_has_no_result(printed: Callable[..., Document]) -> None:
    last = printed("trace", "json")[-1]
    assert (last["function"], last["result"], last["value"]) == ("SYSTEM_SUSPEND", None, None)


def test_a_version_is_a_success_with_a_value(printed: Callable[..., Document]) -> None:
    (record,) = [each for each in printed("trace", "json") if each["function"] == "PSCI_VERSION"][:1]
    assert (record["result"], record["value"]) == ("SUCCESS", "0x10001")


def test_a_followed_trace_is_a_document_a_line(session: Session, hil_agent: str) -> None:
    calls = session.status().calls
    follower = subprocess.Popen(
        [hil_agent, "trace", session.name, "--follow", "--json"], stdout=subprocess.PIPE, text=True
    )
    assert follower.stdout is not None
    lines = [json.loads(follower.stdout.readline()) for _ in range(calls)]
    follower.kill()
    follower.communicate()
    assert [line["seq"] for line in lines] == list(range(1, calls + 1))


def test_a_perfetto_trace_has_a_slice_a_call(session: Session, hil_agent_command: CommandLine) -> None:
    trace = json.loads(hil_agent_command("trace", session.name, "--format", "perfetto").stdout)
    assert [event["ph"] for event in trace["traceEvents"]] == ["X"] * session.status().calls


def test_the_journal_is_the_trace_and_the_events(session: Session) -> None:
    records = [json.loads(line) for line in session.folder.journal.read_text().splitlines()]
    events = [record["event"] for record in records if "event" in record]
    assert len(records) - len(events) == session.status().calls
    assert [event for event in events if event in ("suspended", "resumed")] == [
        "suspended",
        "resumed",
        "suspended",
    ]


# what is destroyed comes last


def test_destroy_says_what_it_destroyed(printed: Callable[..., Document]) -> None:
    assert printed("destroy", "json") == {"destroyed": ["json"]}
