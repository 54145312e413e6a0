from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest

from hil_agent.cli.output import INTERRUPTED, print_json, print_table, run
from hil_agent.errors import HostError, NotFoundError, StateError, UsageError
from hil_agent.text import printable


def raising(error: BaseException) -> click.Command:
    @click.command
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("wrong"), 2),
        (StateError("not now"), 3),
        (NotFoundError("none"), 4),
        (HostError("lacking"), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_exit_status_tells_what_kind_of_error_it_was(error: BaseException, status: int) -> None:
    assert run(raising(error), []) == status


def test_an_error_and_its_hint_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    run(raising(HostError("no qemu", hint="install it")), [])
    assert capsys.readouterr() == ("", "hil-agent: no qemu\n  install it\n")


def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raising(UsageError("")), ["--nonsense"]) == 2
    assert "--nonsense" in capsys.readouterr().err


def test_a_command_that_ends_well_is_status_0() -> None:
    assert run(click.Command("nothing", callback=lambda: None), []) == 0


def test_a_command_chooses_its_status_with_exit() -> None:
    @click.command
    @click.pass_context
    def command(context: click.Context) -> None:
        context.exit(42)

    assert run(command, []) == 42


def test_an_errors_escape_sequences_are_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    run(raising(UsageError("panic: \x1b[2J")), [])
    assert capsys.readouterr().err == "hil-agent: panic: \\x1b[2J\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ümläut\n\ttab", "plain, ümläut\n\ttab"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b2J\r", "\\x9b2J\\r"),
        ("\u202e", "\\u202e"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_would_act_on_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_document_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"text": "\udcff\x1b\n", "list": [1, None]}
    print_json(document)
    assert json.loads(capsys.readouterr().out) == document


def test_a_compact_document_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": "a\nb"}, compact=True)
    assert capsys.readouterr().out.count("\n") == 1


def test_a_table_is_not_cut_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name", "value"], [("long", "x" * 500)])
    assert "x" * 500 in capsys.readouterr().out


def test_a_tables_cells_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["cell"], [("[red]\x1b[2J:smile:",)])
    assert "[red]\\x1b[2J:smile:" in capsys.readouterr().out


def test_a_reader_that_goes_away_is_no_error_to_talk_about() -> None:
    script = (
        "import click, sys; from hil_agent.cli.output import print_json, run\n"
        "sys.exit(run(click.Command('x', callback=lambda: print_json('x' * 1_000_000)), []))"
    )
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-c", script], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert result.stderr == b""


def test_a_second_ctrl_c_during_the_first_is_quiet_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("click.core.echo", interrupted)  # what click says of the first
    command = click.Command("x", callback=interrupted)
    assert run(command, []) == INTERRUPTED
