"""Ways to boot, and ways in which a boot is broken off."""

from __future__ import annotations

import gzip
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import hil_agent
from hil_agent.guest.image import GuestImage
from hil_agent.resources import runtime_folder
from hil_agent.session import Session, State
from hil_agent.session.folder import SessionFolder

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]
Assemble = Callable[..., Path]
CommandLine = Callable[..., subprocess.CompletedProcess[str]]

INTERRUPTED = 130


def test_a_session_ends_with_its_with_block() -> None:
    with hil_agent.boot() as session:
        assert session.status().state is State.RUNNING
    assert not session.folder.path.exists()


def test_a_second_destroy_does_no_harm(boot: Boot) -> None:
    session = boot(wait=False)
    session.destroy()
    session.destroy()


def test_two_sessions_at_once_do_not_collide(boot: Boot) -> None:
    first, second = boot(wait=False), boot(wait=False)
    for session in (first, second):
        session.wait(State.RUNNING)
    first.suspend()
    assert (first.status().state, second.exec("echo free").text) == (State.SUSPENDED, "free")
    second.suspend()
    first.resume()
    states = (first.status().state, second.status().state)
    second.resume()
    assert states == (State.RUNNING, State.SUSPENDED)


def test_a_gzip_image_is_unpacked(boot: Boot, linux: GuestImage, tmp_path: Path) -> None:
    kernel = tmp_path / "Image.gz"
    kernel.write_bytes(gzip.compress(linux.kernel.read_bytes(), compresslevel=1))
    session = boot(kernel=kernel, initramfs=linux.initramfs)
    assert session.exec("uname -m").text == "aarch64"


def test_without_network_there_is_no_interface_but_the_loopback(boot: Boot) -> None:
    assert boot().exec("ls /sys/class/net").text.split() == ["lo"]


def test_with_network_there_is_an_interface_with_an_address(boot: Boot) -> None:
    session = boot(network="user")
    wait_for_address = "for i in $(seq 50); do ip -4 addr show eth0 | grep inet && break; sleep 0.2; done"
    assert "10.0.2." in session.exec(wait_for_address).text


def test_memory_is_as_asked_for(boot: Boot) -> None:
    total_kib = int(boot(memory="1G").exec("awk '/MemTotal/ {print $2}' /proc/meminfo").text)
    assert 900 << 10 < total_kib < 1 << 20


def test_the_guest_is_not_told_of_the_flash_that_holds_the_monitor(boot: Boot) -> None:
    # Linux would probe it with CFI commands, and while it answers them it holds no code.
    find = (
        "find /proc/device-tree -name 'flash@*' -exec sh -c 'cat $0/status || echo okay' {} ';' 2>/dev/null"
    )
    assert "okay" not in boot().exec(find).text


def test_the_command_line_is_added_to_the_guests_own(boot: Boot) -> None:
    words = boot(append="quiet hil.word=42").exec("cat /proc/cmdline").text.split()
    assert (words[0], words[-1]) == ("console=ttyAMA0", "hil.word=42")


def test_the_smc_conduit_works_for_linux(boot: Boot) -> None:
    session = boot(conduit="smc", cpus=2)
    session.suspend()
    session.resume()
    ended = session.settle()
    assert ended is not None
    assert (ended.status, {call.conduit for call in session.trace()}) == (0, {"smc"})


def test_a_guest_that_never_calls_is_said_to_be_suspicious(
    assemble: Assemble, hil_agent_command: CommandLine
) -> None:
    kernel = assemble("silent", 0x40200000)
    arguments = ["--kernel", kernel, "--load-address", "0x40200000", "--memory", "64M"]
    done = hil_agent_command("boot", "qemu-virt", *arguments, "--until", "here I am", "--name", "silent")
    hil_agent_command("destroy", "silent")
    assert (done.returncode, "no PSCI call seen; is the conduit right?" in done.stderr) == (0, True)


def test_a_guest_that_calls_is_not(hil_agent_command: CommandLine) -> None:
    done = hil_agent_command("boot", "qemu-virt", "--name", "linux")
    hil_agent_command("destroy", "linux")
    assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------------------------ broken off


def start_boot(hil_agent: str) -> subprocess.Popen[str]:
    """A `hil-agent boot` that waits for what never comes, once its guest speaks."""
    process = subprocess.Popen(
        [hil_agent, "boot", "qemu-virt", "--name", "endless", "--until", "never said"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = SessionFolder(runtime_folder() / "endless").console_log
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.05)  # nothing tells us that a file has been made
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_boot_that_is_interrupted_leaves_nothing(hil_agent: str, number: signal.Signals) -> None:
    process = start_boot(hil_agent)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode in (INTERRUPTED, -number, 128 + number)
    assert "Traceback" not in said


def test_a_boot_that_is_killed_leaves_nothing(hil_agent: str) -> None:
    process = start_boot(hil_agent)
    process.kill()
    process.communicate(timeout=20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_boot_that_is_ended_at_any_time_leaves_nothing(hil_agent: str, number: signal.Signals) -> None:
    for tenths in range(2, 8):
        command = ["timeout", f"--signal={number.name[3:]}", f"{tenths / 10}", hil_agent, "boot", "qemu-virt"]
        done = subprocess.run(
            [*command, "--until", "never said"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr


def test_a_booted_session_outlives_the_terminal(hil_agent: str, hil_agent_command: CommandLine) -> None:
    script = f"{hil_agent} boot qemu-virt --name survivor; kill -HUP 0"
    subprocess.run(
        ["setsid", "sh", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    done = hil_agent_command("exec", "survivor", "--", "echo alive")
    hil_agent_command("destroy", "survivor")
    assert done.stdout == "alive\n"
