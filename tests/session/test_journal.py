from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.engine.events import CallAnswered, Crashed, Entered, Ready, Resumed, Suspended
from hil_agent.psci import Call, Conduit
from hil_agent.psci.context import ResumeContext
from hil_agent.psci.functions import ReturnCode, Width
from hil_agent.session.journal import Journal, News, call_record

U64 = st.integers(0, 2**64 - 1)
CONTEXT = ResumeContext(0x40EF0038, 0, 0, Width.SMC64)
SYSTEM_SUSPEND = 0xC400000E


def answered(result: int | None = 0, function: int = 0x84000000) -> CallAnswered:
    return CallAnswered(Call(0, Conduit.HVC, (function, 1, 2, 3)), result, 0.0001802)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal(path) as journal:
        yield journal


def written(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# -------------------------------------------------------------------------------- records


def test_a_record_of_a_call() -> None:
    call = Call(2, Conduit.SMC, (SYSTEM_SUSPEND, 0x40EF0038, 0, 0))
    assert call_record(17, 3.1415, CallAnswered(call, None, 0.0001802)) == {
        "seq": 17,
        "time_s": 3.1415,
        "cpu": 2,
        "conduit": "smc",
        "function": "SYSTEM_SUSPEND",
        "function_id": "0xc400000e",
        "args": ["0x40ef0038", "0x0", "0x0"],
        "result": None,
        "value": None,
        "handling_us": 180.2,
        "fault": None,
    }


@pytest.mark.parametrize("code", ReturnCode)
def test_a_return_code_is_named(code: ReturnCode) -> None:
    assert call_record(1, 0, answered(code & (2**64 - 1)))["result"] == code.name


def test_a_value_is_a_success() -> None:
    record = call_record(1, 0, answered(0x10001))
    assert (record["result"], record["value"]) == ("SUCCESS", "0x10001")


def test_an_error_without_a_name_is_shown_as_its_number() -> None:
    assert call_record(1, 0, answered(2**64 - 77))["result"] == "-77"


@given(st.tuples(U64, U64, U64, U64), st.one_of(st.none(), U64))
def test_whatever_a_guest_calls_is_json(registers: tuple[int, int, int, int], result: int | None) -> None:
    record = call_record(1, 0.0, CallAnswered(Call(0, Conduit.HVC, registers), result, 0.0))
    assert json.loads(json.dumps(record)) == record


# ----------------------------------------------------------------------------------- file


def test_a_line_is_there_as_soon_as_it_was_told(journal: Journal, path: Path) -> None:
    journal.apply(answered())
    assert [line["seq"] for line in written(path)] == [1]


def test_calls_are_numbered_and_events_are_not(journal: Journal, path: Path) -> None:
    for event in (answered(), Ready(), answered()):
        journal.apply(event)
    assert [line.get("seq", line.get("event")) for line in written(path)] == [1, "ready", 2]


def test_events_hold_what_there_is_to_know(journal: Journal, path: Path) -> None:
    for event in (
        Entered(1, 0x40),
        Suspended(CONTEXT),
        Resumed(CONTEXT, "interrupt 34"),
        Resumed(None, "command"),
    ):
        journal.apply(event)
    context = {"cpu": 0, "entry_point": "0x40ef0038", "context_id": "0x0"}
    assert [{key: value for key, value in line.items() if key != "time_s"} for line in written(path)] == [
        {"event": "entered", "cpu": 1, "pc": 0x40},
        {"event": "suspended", **context},
        {"event": "resumed", **context, "cause": "interrupt 34"},
        {"event": "resumed", "cause": "command"},
    ]


def test_a_reason_with_line_breaks_is_one_line(journal: Journal, path: Path) -> None:
    journal.apply(Crashed("Kernel panic\n  here"))
    assert written(path)[0]["reason"] == "Kernel panic\n  here"


def test_the_file_is_for_its_user_alone(journal: Journal, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_disk_that_is_full_ends_the_file_and_not_the_session() -> None:
    journal = Journal(Path("/dev/full"))
    journal.apply(answered())
    journal.apply(answered())
    assert journal.failure is not None
    assert len(journal.calls()) == 2


# ------------------------------------------------------------------------------ followers


def test_a_follower_gets_what_was_and_what_comes(journal: Journal) -> None:
    journal.apply(answered())
    with journal.follow() as (so_far, news):
        journal.apply(answered())
        following = news.get_nowait()
    assert isinstance(following, dict)
    assert ([record["seq"] for record in so_far], following["seq"]) == ([1], 2)


def test_nothing_is_lost_or_doubled_between_what_was_and_what_comes(journal: Journal) -> None:
    def tell() -> None:
        for _ in range(2000):
            journal.apply(answered())

    teller = Thread(target=tell)
    teller.start()
    with journal.follow() as (so_far, news):
        teller.join()
        later = [news.get_nowait() for _ in range(news.qsize())]
    seen = [record["seq"] for record in [*so_far, *later] if isinstance(record, dict)]
    assert seen == list(range(1, 2001))


def test_a_follower_that_lags_loses_records_and_not_the_end(path: Path) -> None:
    journal = Journal(path)
    with journal.follow() as (_, news):
        for _ in range(news.maxsize + 10):
            journal.apply(answered())
        journal.close()
        told = [news.get_nowait() for _ in range(news.qsize())]
    assert told[-1] is News.END


def test_a_follower_can_be_made_to_look_up(journal: Journal) -> None:
    with journal.follow() as (_, news):
        journal.nudge()
        assert news.get_nowait() is News.LOOK


def test_after_its_end_the_journal_takes_no_descriptor_of_somebody_else(path: Path, tmp_path: Path) -> None:
    journal = Journal(path)
    journal.close()
    with (tmp_path / "other").open("w") as other:  # may have got the same number
        journal.apply(answered())
        assert os.fstat(other.fileno()).st_size == 0
