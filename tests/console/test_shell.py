from __future__ import annotations

import random
import shutil
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from hil_agent.console import helper
from hil_agent.console.cancel import Cancellation, Cancelled
from hil_agent.console.channel import GuestDied
from hil_agent.console.shell import Result, Shell
from hil_agent.errors import GuestError, LinkError, StateError, TargetTimeout

# The fixtures of conftest.py; it cannot be imported.
Guest = Any
GuestMaker = Any

EVERY_SHELL = pytest.mark.parametrize("shell", ["ash", "dash", "bash"])


def stamped(rng: random.Random) -> bytes:
    """A message as printk writes it with CONFIG_PRINTK_TIME."""
    return b"[%5d.%06d] foo: bar %d\r\n" % (rng.randrange(1000), rng.randrange(1000000), rng.randrange(100))


def bare(rng: random.Random) -> bytes:
    """A message as printk writes it without."""
    return b"foo: bar %d\r\n" % rng.randrange(1000)


@EVERY_SHELL
def test_output_and_status_come_back(make_guest: GuestMaker, shell: str) -> None:
    guest = make_guest(shell)
    assert Shell(guest.console).exec("echo out; echo err >&2; exit 3") == Result(b"out\nerr\n", 3)


@EVERY_SHELL
@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("true", 0),
        ("/", 126),
        ("no-such-command", 127),
        ("kill -9 $$", 137),
        ("kill -15 $$", 143),
        ("exit 255", 255),
    ],
)
def test_the_status_is_the_commands_own(
    make_guest: GuestMaker, shell: str, command: str, status: int
) -> None:
    assert Shell(make_guest(shell).console).exec(command).status == status


@EVERY_SHELL
def test_a_signals_name_is_not_taken_for_output(make_guest: GuestMaker, shell: str) -> None:
    assert Shell(make_guest(shell).console).exec("kill -9 $$").stdout == b""


@EVERY_SHELL
@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"no newline",
        b"\n\n",
        b"\0\x01\x03\x04\x11\x13\x15\x1a\xff",
        "ünï\u2028".encode(),
        b"\r\n\r",
        b"-n\\c%s",
    ],
)
def test_output_is_exact(make_guest: GuestMaker, shell: str, tmp_path: Path, output: bytes) -> None:
    (tmp_path / "output").write_bytes(output)
    guest = make_guest(shell, folder=tmp_path)
    assert Shell(guest.console).exec("cat output").stdout == output


@pytest.mark.parametrize("noise", [stamped, bare], ids=["stamped", "bare"])
@EVERY_SHELL
def test_output_is_exact_among_the_kernels_messages(
    make_guest: GuestMaker, shell: str, tmp_path: Path, noise: object
) -> None:
    output = random.Random(2).randbytes(20_000)
    (tmp_path / "output").write_bytes(output)
    guest = make_guest(shell, folder=tmp_path, noise=noise, distance=1000.0)
    assert Shell(guest.console).exec("cat output; exit 7") == Result(output, 7)


def test_five_megabytes_come_back(make_guest: GuestMaker, tmp_path: Path) -> None:
    output = random.Random(3).randbytes(5_000_000)
    (tmp_path / "output").write_bytes(output)
    guest = make_guest("dash", folder=tmp_path, noise=stamped, distance=100_000.0)
    assert Shell(guest.console).exec("cat output").stdout == output


@EVERY_SHELL
def test_output_may_look_like_ours(make_guest: GuestMaker, shell: str) -> None:
    command = f"ls -a /tmp | grep {helper.NAME}; echo '=00000000.1:0;'; echo {helper.NAME}; echo ."
    assert Shell(make_guest(shell).console).exec(command).stdout.endswith(b"=00000000.1:0;\nhil-agent\n.\n")


@EVERY_SHELL
def test_a_command_may_be_of_any_shape(make_guest: GuestMaker, shell: str) -> None:
    command = "a='it'\"'\"'s \"ü\"'\n" + f"b={'x' * 9000}\n" + "if true\nthen printf '%s!' \"$a\" ${#b}\nfi"
    assert Shell(make_guest(shell).console).exec(command).stdout == 'it\'s "ü"!9000!'.encode()


@EVERY_SHELL
def test_standard_input_is_empty(make_guest: GuestMaker, shell: str) -> None:
    assert Shell(make_guest(shell).console).exec("cat; echo end").stdout == b"end\n"


def test_the_users_folder_and_variables_hold(make_guest: GuestMaker, tmp_path: Path) -> None:
    guest = make_guest("bash", folder=tmp_path, env={"COLOUR": "blue"})
    assert Shell(guest.console).exec("pwd; echo $COLOUR").stdout == f"{tmp_path}\nblue\n".encode()


def test_aliases_of_the_user_do_not_matter(make_guest: GuestMaker) -> None:
    guest = make_guest("bash")
    guest.console.sendall(b"alias rm='rm -i' cat='cat -n' dd=false grep='grep --color=always'; set -u -C\n")
    assert Shell(guest.console).exec("echo fine").stdout == b"fine\n"


@EVERY_SHELL
def test_nothing_stays_in_the_guest(make_guest: GuestMaker, shell: str, tmp_path: Path) -> None:
    guest = make_guest(shell, folder=tmp_path, env={"TMPDIR": str(tmp_path)})
    commands = Shell(guest.console)
    commands.exec("true")
    with pytest.raises(TargetTimeout):
        commands.exec("sleep 60", 0.2)
    assert list(tmp_path.iterdir()) == []


@EVERY_SHELL
def test_no_variable_stays_in_the_users_shell(make_guest: GuestMaker, shell: str, tmp_path: Path) -> None:
    guest = make_guest(shell, folder=tmp_path)
    commands = Shell(guest.console)
    guest.console.sendall(b"set >before\n")
    commands.exec("true")
    guest.console.sendall(b"set >after\n")
    commands.sync(20)
    names = [
        {line.partition("=")[0] for line in (tmp_path / name).read_text().splitlines()}
        for name in ("before", "after")
    ]
    assert names[1] - names[0] <= {"PIPESTATUS", "BASH_LINENO"}


@EVERY_SHELL
def test_the_terminal_is_as_before(make_guest: GuestMaker, shell: str, tmp_path: Path) -> None:
    guest = make_guest(shell, folder=tmp_path)
    commands = Shell(guest.console)
    guest.console.sendall(b"stty -a >before\n")
    commands.exec("true")
    guest.console.sendall(b"stty -a >after\n")
    commands.sync(20)
    assert (tmp_path / "after").read_text() == (tmp_path / "before").read_text()


@EVERY_SHELL
def test_a_half_typed_line_is_dropped(make_guest: GuestMaker, shell: str, tmp_path: Path) -> None:
    guest = make_guest(shell, folder=tmp_path)
    commands = Shell(guest.console)
    commands.sync(20)
    guest.console.sendall(b"touch made; echo half a li")
    assert commands.exec("ls") == Result(b"", 0)


@EVERY_SHELL
def test_a_helper_without_its_host_makes_way(make_guest: GuestMaker, shell: str) -> None:
    guest = make_guest(shell)
    abandoned = Shell(guest.console).start("echo first")
    assert Shell(guest.console).exec("echo second").stdout == b"second\n"
    abandoned._stack.pop_all()  # as if its process had died


def test_what_a_person_types_meanwhile_is_no_harm(make_guest: GuestMaker) -> None:
    guest = make_guest("ash")
    job = Shell(guest.console).start("sleep 0.3; echo done")
    guest.type(b"ls -")
    assert job.wait(20).stdout == b"done\n"


@EVERY_SHELL
def test_a_timeout_interrupts_the_command(make_guest: GuestMaker, shell: str) -> None:
    commands = Shell(make_guest(shell).console)
    with pytest.raises(TargetTimeout, match="so far"):
        commands.exec("echo so far; sleep 60", 0.3)
    assert commands.exec("echo next").stdout == b"next\n"


def test_a_cancelled_command_is_interrupted(make_guest: GuestMaker) -> None:
    commands = Shell(make_guest("ash").console)
    cancel = Cancellation()
    threading.Timer(0.3, cancel.set).start()
    with pytest.raises(Cancelled):
        commands.exec("sleep 60", cancel=cancel)
    cancel.close()
    assert commands.exec("echo next").stdout == b"next\n"


def test_a_command_that_ignores_interrupts_is_quit(make_guest: GuestMaker) -> None:
    commands = Shell(make_guest("dash").console)
    with pytest.raises(TargetTimeout):
        commands.exec("trap '' INT; sleep 60", 0.2)
    assert commands.exec("echo next").stdout == b"next\n"


def test_a_closed_job_is_interrupted(make_guest: GuestMaker) -> None:
    commands = Shell(make_guest("dash").console)
    with commands.start("sleep 60"):
        pass
    assert commands.exec("echo next").stdout == b"next\n"


def test_one_command_at_a_time(make_guest: GuestMaker) -> None:
    commands = Shell(make_guest("dash").console)
    with commands.start("sleep 60"), pytest.raises(StateError):
        commands.start("true")


def test_a_command_is_waited_for_once(make_guest: GuestMaker) -> None:
    job = Shell(make_guest("dash").console).start("true")
    job.wait(20)
    with pytest.raises(StateError):
        job.wait(20)


def test_a_panic_during_a_command_is_told(make_guest: GuestMaker) -> None:
    guest = make_guest("dash")
    job = Shell(guest.console).start("sleep 60")
    guest.say(b"[    9.000000] Kernel panic - not syncing: sysrq triggered crash\r\n[    9.0] CPU: 0\r\n")
    with pytest.raises(GuestDied, match="sysrq"):
        job.wait(20)


def test_a_console_that_closes_during_a_command_is_told(make_guest: GuestMaker) -> None:
    guest = make_guest("dash")
    job = Shell(guest.console).start("sleep 60")
    guest.hang_up()
    with pytest.raises(LinkError):
        job.wait(20)


def test_no_shell_is_a_timeout(make_guest: GuestMaker) -> None:
    guest = make_guest("dash")
    guest.console.sendall(b"exec sleep 60\n")
    with pytest.raises(TargetTimeout, match="no shell"):
        Shell(guest.console).sync(0.5)


def test_a_shell_that_comes_later_is_found(make_guest: GuestMaker) -> None:
    guest = make_guest("ash")
    guest.console.sendall(b"sleep 1\n")
    Shell(guest.console).sync(20)


@EVERY_SHELL
@pytest.mark.parametrize("noise", [None, stamped, bare], ids=["quiet", "stamped", "bare"])
def test_a_pushed_file_is_the_same(make_guest: GuestMaker, shell: str, tmp_path: Path, noise: object) -> None:
    data = random.Random(4).randbytes(50_000)
    guest = make_guest(shell, folder=tmp_path, noise=noise)
    Shell(guest.console).push(data, "sub 'dir' ü")
    assert (tmp_path / "sub 'dir' ü").read_bytes() == data


def test_an_executable_stays_executable(make_guest: GuestMaker, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    shell = Shell(make_guest("ash", folder=tmp_path).console)
    shell.push(b"#!/bin/sh\necho ran\n", "folder", name="source", mode=0o750)
    assert stat.S_IMODE((tmp_path / "folder" / "source").stat().st_mode) == 0o750


def test_a_push_writes_through_a_link(make_guest: GuestMaker, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old and longer")
    (tmp_path / "link").symlink_to("file")
    Shell(make_guest("dash", folder=tmp_path).console).push(b"new", "link")
    assert ((tmp_path / "file").read_bytes(), (tmp_path / "link").is_symlink()) == (b"new", True)


def test_an_empty_file_can_be_pushed(make_guest: GuestMaker, tmp_path: Path) -> None:
    Shell(make_guest("dash", folder=tmp_path).console).push(b"", "empty")
    assert (tmp_path / "empty").read_bytes() == b""


@pytest.mark.parametrize(("destination", "message"), [("/no/such/place", "No such file"), ("/", "directory")])
def test_a_push_that_fails_has_the_guests_message(
    make_guest: GuestMaker, destination: str, message: str
) -> None:
    with pytest.raises(GuestError, match=message):
        Shell(make_guest("dash").console).push(b"data", destination)


def test_a_full_file_system_is_told(make_guest: GuestMaker) -> None:
    with pytest.raises(GuestError, match="No space left"):
        Shell(make_guest("dash").console).push(b"data", "/dev/full")


def test_a_pulled_file_is_the_same(make_guest: GuestMaker, tmp_path: Path) -> None:
    (tmp_path / "-file").write_bytes(bytes(range(256)))
    assert Shell(make_guest("ash", folder=tmp_path).console).pull("-file") == bytes(range(256))


@pytest.mark.parametrize(("source", "message"), [("/no/such/file", "No such file"), ("/", "directory")])
def test_a_pull_that_fails_has_the_guests_message(make_guest: GuestMaker, source: str, message: str) -> None:
    with pytest.raises(GuestError, match=message):
        Shell(make_guest("dash").console).pull(source)


def poor_guest(make_guest: GuestMaker, tmp_path: Path, *programs: str) -> Guest:
    """A guest that has these programs and a few that each needs."""
    busybox, dash, cksum = map(shutil.which, ("busybox", "dash", "cksum"))
    if not (busybox and dash and cksum):
        pytest.skip("busybox or dash is not installed")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "dash").symlink_to(dash)
    for program in ("sh", "cat", "rm", "mkdir", "mv", "grep", "sed", "dd", "wc", *programs):
        (folder / program).symlink_to(cksum if program == "cksum" else busybox)
    (tmp_path / "output").write_bytes(bytes(range(256)) * 20)
    return make_guest("dash", folder=tmp_path, env={"PATH": str(folder)})


@pytest.mark.parametrize(
    "programs",
    [
        ("base64", "cksum", "stty"),
        ("uuencode", "sha256sum", "stty"),
        ("od", "cksum", "stty"),
        ("base64", "cksum"),
    ],
    ids="+".join,
)
def test_poor_guests_will_do(make_guest: GuestMaker, tmp_path: Path, programs: tuple[str, ...]) -> None:
    guest = poor_guest(make_guest, tmp_path, *programs)
    assert Shell(guest.console).exec("cat output").stdout == bytes(range(256)) * 20


@pytest.mark.parametrize(
    "programs", [("od", "cksum"), ("base64", "sha256sum")], ids=lambda programs: programs[0]
)
def test_poor_guests_take_files(make_guest: GuestMaker, tmp_path: Path, programs: tuple[str, ...]) -> None:
    guest = poor_guest(make_guest, tmp_path, *programs)
    Shell(guest.console).push(bytes(range(256)) * 20, "pushed")
    assert (tmp_path / "pushed").read_bytes() == bytes(range(256)) * 20


def test_a_guest_that_is_too_poor_says_what_it_lacks(make_guest: GuestMaker, tmp_path: Path) -> None:
    guest = poor_guest(make_guest, tmp_path, "stty")
    with pytest.raises(GuestError, match="base64, uuencode or od"):
        Shell(guest.console).exec("true")


def test_more_output_than_is_fetched_is_refused(
    make_guest: GuestMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper, "MAX_BYTES", 10)
    with pytest.raises(GuestError, match="are not fetched"):
        Shell(make_guest("dash").console).exec("echo more than ten")


def test_deadlines_hold_while_a_guest_chatters(make_guest: GuestMaker) -> None:
    guest = make_guest("dash")
    guest.console.sendall(b"yes\n")
    with pytest.raises(TargetTimeout):
        Shell(guest.console).sync(0.5)


def test_a_cancelled_start_comes_back_to_the_prompt(make_guest: GuestMaker) -> None:
    commands = Shell(make_guest("dash").console)
    cancel = Cancellation()
    cancel.set()
    with pytest.raises(Cancelled):
        commands.exec("true", cancel=cancel)
    cancel.close()
    assert commands.exec("echo next").stdout == b"next\n"
