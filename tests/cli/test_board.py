from __future__ import annotations

import json
from pathlib import Path

import pytest

from hil_agent.cli.board import board
from hil_agent.cli.output import run


@pytest.fixture(autouse=True)
def own_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's own boards, with a broken one."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "hil-agent" / "boards"
    folder.mkdir(parents=True)
    (folder / "broken.yaml").write_text("kind: qemu\ndescription: x\ncpus: many\n")
    return folder


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """All that a command prints; it must succeed."""
    assert run(board, arguments) == 0
    return capsys.readouterr().out


def test_the_list_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert "qemu-virt  qemu  QEMU's virt machine" in printed(capsys, "list")


def test_a_broken_board_is_listed_with_its_error(capsys: pytest.CaptureFixture[str]) -> None:
    boards = {row["name"]: row for row in json.loads(printed(capsys, "list", "--json"))}
    assert boards["qemu-virt"]["error"] is None
    assert "broken.yaml:3: cpus" in boards["broken"]["error"]


def test_a_board_is_shown_with_its_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(printed(capsys, "show", "qemu-virt", "--json"))
    assert (shown["memory"], shown["wake"], shown["timeout_s"]) == ("512M", ["command", "irq"], 60.0)


def test_a_board_is_shown_to_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert "command irq" in printed(capsys, "show", "qemu-virt")


def test_a_good_file_passes_the_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text("kind: qemu\ndescription: x\n")
    expected = {"ok": True, "path": str(path), "name": "good", "kind": "qemu"}
    assert json.loads(printed(capsys, "check", str(path), "--json")) == expected


def test_a_bad_file_fails_the_check_with_file_line_and_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(board, ["check", "broken", "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "broken.yaml:3: cpus: " in err


def test_an_unknown_board_is_status_4() -> None:
    assert run(board, ["show", "nothing"]) == 4


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    schema = json.loads(printed(capsys, "schema"))
    assert schema["$defs"]["QemuBoard"]["properties"]["cpus"]["maximum"] == 32
