"""The shipped guest, made from Debian's real packages and booted on a plain QEMU, without an agent."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pexpect.socket_pexpect import SocketSpawn

from hil_agent.guest import catalogue, image
from hil_agent.guest.image import GuestImage

pytestmark = pytest.mark.e2e

PROMPT = b"hil# "


@pytest.fixture(scope="module")
def guest() -> GuestImage:
    return image.build(catalogue.find("linux-minimal"), lambda _step, _fraction: None)


@contextmanager
def booted(guest: GuestImage, folder: Path, *options: str) -> Iterator[SocketSpawn[bytes]]:
    """The console of a guest that is up, at its prompt."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "serial"))
        listener.listen()
        command = ["qemu-system-aarch64", "-machine", "virt,gic-version=3", "-cpu", "cortex-a57", "-m", "512"]
        command += ["-kernel", str(guest.kernel), "-initrd", str(guest.initramfs)]
        command += ["-append", guest.recipe.description.command_line, "-display", "none", "-monitor", "none"]
        command += ["-serial", f"unix:{folder / 'serial'}", *options]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as qemu:
            try:
                connection, _ = listener.accept()
                with connection:
                    console: SocketSpawn[bytes] = SocketSpawn(connection, timeout=60)
                    console.expect(re.compile(guest.recipe.description.ready.encode(), re.MULTILINE))
                    console.expect_exact(PROMPT)
                    console.sendline("stty -echo")  # and with it line editing
                    console.expect_exact(PROMPT)
                    yield console
            finally:
                qemu.kill()


def said(console: SocketSpawn[bytes], command: str) -> str:
    console.sendline(command)
    console.expect_exact(PROMPT)
    assert console.before is not None
    return console.before.decode()


def test_the_shell_has_job_control_and_all_file_systems(guest: GuestImage, tmp_path: Path) -> None:
    with booted(guest, tmp_path, "-nic", "none") as console:
        assert "/dev/ttyAMA0" in said(console, "tty")
        mounts = said(console, "mount")
        for place in ("/proc", "/sys", "/dev", "/sys/kernel/debug"):
            assert f" on {place} type " in mounts


def test_a_shell_that_ends_is_followed_by_another(guest: GuestImage, tmp_path: Path) -> None:
    with booted(guest, tmp_path, "-nic", "none") as console:
        first = said(console, "echo pid=$$")
        said(console, "exit")
        assert said(console, "echo pid=$$") != first


def test_the_rtc_can_set_an_alarm(guest: GuestImage, tmp_path: Path) -> None:
    with booted(guest, tmp_path, "-nic", "none") as console:
        alarm = said(console, "cd /sys/class/rtc/rtc0; echo +100 > wakealarm; cat wakealarm")
        assert re.search(r"\d{9,}", alarm)


@pytest.mark.parametrize("nic", ["virtio-net-pci", "virtio-net-device"])
def test_a_network_card_gets_an_address(guest: GuestImage, tmp_path: Path, nic: str) -> None:
    with booted(guest, tmp_path, "-netdev", "user,id=net", "-device", f"{nic},netdev=net") as console:
        wait = "until ip -4 address show eth0 2>/dev/null | grep -q 'inet 10.0.2.15'; do sleep 0.1; done"
        said(console, wait)
        assert "default via 10.0.2.2" in said(console, "ip route")


def test_the_power_key_has_its_driver(guest: GuestImage, tmp_path: Path) -> None:
    with booted(guest, tmp_path, "-nic", "none") as console:
        said(console, "until grep -q gpio-keys /proc/bus/input/devices; do sleep 0.1; done")


@pytest.mark.parametrize(
    ("command", "last_words"), [("poweroff", "Power down"), ("reboot", "Restarting system")]
)
def test_the_machine_can_be_switched_off(
    guest: GuestImage, tmp_path: Path, command: str, last_words: str
) -> None:
    with booted(guest, tmp_path, "-nic", "none", "-no-reboot") as console:
        console.sendline(command)
        console.expect_exact(f"reboot: {last_words}")
