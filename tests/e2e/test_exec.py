"""Commands and files, in and out of a guest over its console."""

from __future__ import annotations

import hashlib
import random
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hil_agent.errors import GuestError, TargetTimeout
from hil_agent.session import Session

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]
CommandLine = Callable[..., subprocess.CompletedProcess[str]]

SLEEPERS = "ps | grep -c '[s]leep 100'"
"""How many of them run in the guest."""

PUSHED = "/root/pushed"


@pytest.fixture(scope="module")
def session(boot_shared: Boot) -> Session:
    return boot_shared(cpus=2)


@pytest.mark.parametrize("status", [0, 1, 42, 126, 127, 255])
def test_the_exit_status_is_the_commands(session: Session, status: int) -> None:
    assert session.exec(f"exit {status}").status == status


def test_a_signal_is_128_and_its_number(session: Session) -> None:
    assert session.exec("kill -TERM $$").status == 128 + 15


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("true", b""),
        ("echo", b"\n"),
        ("printf 'no newline'", b"no newline"),
        ("printf '\\r\\n\\r\\n\\n\\r'", b"\r\n\r\n\n\r"),
        ("printf '\\000\\001\\003\\004\\021\\023\\032\\034\\177\\377'", b"\0\1\3\4\x11\x13\x1a\x1c\x7f\xff"),
        ("echo out; echo err >&2", b"out\nerr\n"),
        ("echo 'hil# '", b"hil# \n"),
        ("printf '\\033[6n'", b"\x1b[6n"),
        ("echo 'a  b' \"c'd\" `echo e`", b"a  b c'd e\n"),
        ("cat <<END\nfirst\n\nsecond\nEND", b"first\n\nsecond\n"),
        ("cat", b""),
        ("echo ü", "ü\n".encode()),
        ("# a comment", b""),
    ],
)
def test_the_output_is_what_the_command_wrote(session: Session, command: str, output: bytes) -> None:
    assert session.exec(command).output == output


def test_every_byte_passes(session: Session) -> None:
    everything = "".join(f"\\{byte:03o}" for byte in range(256))
    assert session.exec(f"printf '{everything}'").output == bytes(range(256))


def test_long_output_is_whole_while_the_kernel_talks(session: Session) -> None:
    command = (
        "(for i in $(seq 40); do echo noise $i > /dev/kmsg; sleep 0.02; done) & "
        "dd if=/dev/zero bs=1k count=64 2>/dev/null | tr '\\0' 'x'; wait"
    )
    assert session.exec(command, timeout_s=60).output == b"x" * 65536


def test_the_kernels_messages_are_on_the_console_all_the_same(session: Session) -> None:
    session.exec("echo '<1>hil speaks' > /dev/kmsg")
    assert "hil speaks" in session.folder.console_log.read_text(errors="replace")


def test_a_long_command_is_taken(session: Session) -> None:
    word = "x" * 20_000
    assert session.exec(f"echo {word}").text == word


def test_commands_that_come_at_once_queue(session: Session) -> None:
    results: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: session.exec(f"sleep 0.2; echo {n}").text}))
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: str(n) for n in range(3)}


def test_a_command_that_takes_too_long_is_interrupted(session: Session) -> None:
    with pytest.raises(TargetTimeout):
        session.exec("sleep 100", timeout_s=1)
    assert session.exec(SLEEPERS).text == "0"


def test_a_command_that_ignores_interrupts_does_not_stop_the_next(session: Session) -> None:
    with pytest.raises(TargetTimeout):
        session.exec("trap '' INT; sleep 2; sleep 2", timeout_s=1)
    assert session.exec("echo next", timeout_s=60).text == "next"


def test_a_client_that_is_gone_takes_its_command_along(session: Session, hil_agent: str) -> None:
    client = subprocess.Popen([hil_agent, "exec", session.name, "--", "sleep 100"])
    with pytest.raises(subprocess.TimeoutExpired):
        client.wait(2)
    client.kill()
    client.wait()
    assert session.exec(SLEEPERS, timeout_s=30).text == "0"


# ----------------------------------------------------------------------------------- files


@pytest.mark.parametrize("size", [0, 1, 4095, 100_000])
def test_a_file_comes_back_as_it_went(session: Session, tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(data)
    session.push(source, PUSHED)
    digest = session.exec(f"sha256sum {PUSHED}").text.split()[0]
    session.pull(PUSHED, copy)
    assert (digest, copy.read_bytes()) == (hashlib.sha256(data).hexdigest(), data)


def test_permissions_go_along(session: Session, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho it runs\n")
    script.chmod(0o750)
    session.push(script, PUSHED)
    assert session.exec(f"stat -c %a {PUSHED}; {PUSHED}").text == "750\nit runs"


def test_a_file_goes_into_a_folder_under_its_name(session: Session, tmp_path: Path) -> None:
    source = tmp_path / "it's a file"
    source.write_text("x")
    session.push(source, "/root")
    assert session.exec("""cat "/root/it's a file" """).text == "x"


def test_what_the_guest_cannot_store_is_said(session: Session, tmp_path: Path) -> None:
    source = tmp_path / "x"
    source.write_text("x")
    with pytest.raises(GuestError, match="/no/such"):
        session.push(source, "/no/such/folder/x")


def test_what_the_guest_does_not_have_leaves_no_file_here(session: Session, tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="/no/such"):
        session.pull("/no/such/file", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------- command line


def test_exec_passes_output_and_status_on(session: Session, hil_agent_command: CommandLine) -> None:
    done = hil_agent_command("exec", session.name, "--", "echo out; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "")


def test_several_words_are_a_program_and_its_arguments(
    session: Session, hil_agent_command: CommandLine
) -> None:
    done = hil_agent_command("exec", session.name, "--", "printf", "[%s]", "a b", "$HOME")
    assert done.stdout == "[a b][$HOME]"


def test_exec_while_suspended_is_status_3(session: Session, hil_agent_command: CommandLine) -> None:
    session.suspend()
    done = hil_agent_command("exec", session.name, "--", "true", timeout_s=20)
    session.resume()
    session.settle()
    assert (done.returncode, "suspended" in done.stderr, done.stdout) == (3, True, "")


def test_the_console_log_begins_with_the_kernels_first_line(
    session: Session, hil_agent_command: CommandLine
) -> None:
    assert hil_agent_command("console", session.name, "--log").stdout.startswith(
        "[    0.000000] Booting Linux"
    )
