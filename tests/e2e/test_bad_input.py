"""Whatever is wrong: one message, the right exit status, no traceback, and nothing left behind."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hil_agent.guest.image import GuestImage
from hil_agent.session import Session

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]
Done = subprocess.CompletedProcess[str]
CommandLine = Callable[..., Done]

WORLD, USAGE, STATE, NOT_FOUND, HOST = 1, 2, 3, 4, 5


def refused(done: Done, status: int, *words: str) -> None:
    """Checks how a command failed."""
    said = done.stderr.strip()
    assert (done.returncode, done.stdout) == (status, ""), said
    assert [word for word in words if word not in said] == [], said
    assert "Traceback" not in said
    assert "InternalError" not in said
    assert said.startswith(("hil-agent: ", "Usage: ")), said


# --------------------------------------------------------------------------------- options


REFUSED_BOOTS = [
    ("no-such-board", NOT_FOUND, "no-such-board"),
    ("./no-such-board.yaml", NOT_FOUND, "no-such-board.yaml"),
    ("qemu-virt --guest no-such-guest", NOT_FOUND, "no-such-guest"),
    ("qemu-virt --cpus 33", USAGE, "--cpus"),
    ("qemu-virt --cpus 0", USAGE, "--cpus"),
    ("qemu-virt --cpus many", USAGE, "--cpus"),
    ("qemu-virt --memory 32M", USAGE, "memory"),
    ("qemu-virt --memory lots", USAGE, "--memory"),
    ("qemu-virt --memory 1M", USAGE, "--memory"),
    ("qemu-virt --cpu cortex-z99", USAGE, "--cpu"),
    ("qemu-virt --cpu max,no-such-feature=on", USAGE, "--cpu"),
    ("qemu-virt --cpu cortex-a57;reboot", USAGE, "--cpu"),
    ("qemu-virt --gic-version 4", USAGE, "--gic-version"),
    ("qemu-virt --profile vms", USAGE, "--profile"),
    ("qemu-virt --trap elsewhere", USAGE, "--trap"),
    ("qemu-virt --trap nowhere", USAGE, "--trap"),
    ("qemu-virt --conduit post", USAGE, "--conduit"),
    ("qemu-virt --wake coffee", USAGE, "--wake"),
    ("qemu-virt --network full", USAGE, "--network"),
    ("qemu-virt --timeout 0", USAGE, "--timeout"),
    ("qemu-virt --timeout -1", USAGE, "--timeout"),
    ("qemu-virt --timeout nan", USAGE, "--timeout"),
    ("qemu-virt --until (", USAGE, "--until"),
    ("qemu-virt --until x --no-wait", USAGE, "--until"),
    ("qemu-virt --name ../up", USAGE, "../up"),
    ("qemu-virt --name ..", USAGE, ".."),
    ("qemu-virt --name a/b", USAGE, "a/b"),
    ("qemu-virt --name -x", USAGE, "-x"),
    ("qemu-virt --name ü", USAGE, "name"),
    ("qemu-virt --name " + "x" * 49, USAGE, "48"),
    ("qemu-virt --kernel /no/such/file", USAGE, "/no/such/file"),
    ("qemu-virt --kernel /", USAGE, "/"),
    ("qemu-virt --kernel /dev/null", USAGE, "/dev/null"),
    ("qemu-virt --kernel /etc/passwd", USAGE, "/etc/passwd"),
    ("qemu-virt --initrd /etc/passwd", USAGE, "--kernel"),
    ("qemu-virt --load-address 0x40200000", USAGE, "--kernel"),
    ("qemu-virt --kernel /etc/passwd --load-address here", USAGE, "here"),
    ("qemu-virt --kernel /etc/passwd --load-address 0", USAGE, "memory"),
    ("qemu-virt --kernel /etc/passwd --load-address 0x40000000", USAGE, "device tree"),
    ("qemu-virt --dtb /etc/passwd", USAGE, "/etc/passwd"),
    ("qemu-virt --dtb /no/such/file", USAGE, "/no/such/file"),
    ("qemu-virt --initrd-address 0x1", USAGE, "initramfs"),
    ("qemu-virt --qemu-arg=-no-such-option", USAGE, "-no-such-option"),
]


@pytest.mark.parametrize(("options", "status", "words"), REFUSED_BOOTS, ids=[row[0] for row in REFUSED_BOOTS])
def test_boot_refuses(hil_agent_command: CommandLine, options: str, status: int, words: str) -> None:
    refused(hil_agent_command("boot", *options.split()), status, words)


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("status nobody", NOT_FOUND, "nobody"),
        ("resume nobody", NOT_FOUND, "nobody"),
        ("destroy nobody", NOT_FOUND, "nobody"),
        ("exec nobody -- true", NOT_FOUND, "nobody"),
        ("destroy ../..", NOT_FOUND, ".."),
        ("console nobody", NOT_FOUND, "nobody"),
        ("trace nobody --follow --format perfetto", USAGE, "--follow"),
        ("wait nobody asleep", USAGE, "asleep"),
        ("no-such-command", USAGE, "no-such-command"),
    ],
)
def test_a_command_refuses(hil_agent_command: CommandLine, command: str, status: int, words: str) -> None:
    refused(hil_agent_command(*command.split()), status, words)


def test_a_name_in_use_is_refused(boot: Boot, hil_agent_command: CommandLine) -> None:
    boot(name="taken", wait=False)
    refused(hil_agent_command("boot", "qemu-virt", "--name", "taken"), USAGE, "taken", "exists")


# ----------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("text", "line", "field"),
    [
        ("kind: qemu\ndescription: x\ncolour: red\n", 3, "colour"),
        ("kind: qemu\ncpus: 2\n", 1, "description"),
        ("kind: qemu\ndescription: x\ncpus: many\n", 3, "cpus"),
        ("description: x\n", 1, "kind"),
        ("kind: toaster\ndescription: x\n", 1, "kind"),
    ],
)
def test_a_board_file_is_refused_with_line_and_field(
    tmp_path: Path, hil_agent_command: CommandLine, text: str, line: int, field: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    refused(hil_agent_command("boot", path), USAGE, f"{path}:{line}: ", field)


@pytest.mark.parametrize(
    "text", ["", "- a\n", "a: [", "a: &x 1\nb: *x\n", "\0", "!!python/object:os.system {}"]
)
def test_a_board_file_that_is_no_yaml_mapping_is_refused(
    tmp_path: Path, hil_agent_command: CommandLine, text: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    refused(hil_agent_command("boot", path), USAGE, str(path))


def test_a_truncated_initramfs_is_refused(
    tmp_path: Path, linux: GuestImage, hil_agent_command: CommandLine
) -> None:
    initramfs = tmp_path / "initramfs"
    initramfs.write_bytes(linux.initramfs.read_bytes()[:100_000])
    done = hil_agent_command("boot", "qemu-virt", "--kernel", linux.kernel, "--initrd", initramfs)
    refused(done, USAGE, str(initramfs), "cut off")


def test_a_truncated_gzip_kernel_is_refused(
    tmp_path: Path, linux: GuestImage, hil_agent_command: CommandLine
) -> None:
    kernel = tmp_path / "Image.gz"
    kernel.write_bytes(gzip.compress(linux.kernel.read_bytes()[:100_000])[:-100])
    refused(hil_agent_command("boot", "qemu-virt", "--kernel", kernel), USAGE, str(kernel), "cut off")


def test_a_kernel_for_another_machine_is_named(hil_agent_command: CommandLine) -> None:
    refused(
        hil_agent_command("boot", "qemu-virt", "--kernel", "/bin/true"),
        USAGE,
        "not for little-endian AArch64",
    )


# ------------------------------------------------------------------------------------ host


def test_an_absent_qemu_is_named_with_the_command_that_installs_it(
    tmp_path: Path, hil_agent_command: CommandLine
) -> None:
    done = hil_agent_command("boot", "qemu-virt", environment={"PATH": str(tmp_path)})
    refused(done, HOST, "qemu-system-aarch64", "apt-get install")


def fake_qemu(folder: Path, script: str) -> dict[str, str]:
    """An environment in which QEMU is a shell script."""
    program = folder / "qemu-system-aarch64"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_a_qemu_that_is_too_old_is_refused(tmp_path: Path, hil_agent_command: CommandLine) -> None:
    environment = fake_qemu(tmp_path, "echo 'QEMU emulator version 5.2.0'")
    refused(hil_agent_command("boot", "qemu-virt", environment=environment), HOST, "5.2", "7.0")


def test_a_qemu_that_does_not_start_is_quoted(tmp_path: Path, hil_agent_command: CommandLine) -> None:
    script = 'case $1 in --version) echo "QEMU emulator version 7.2.0";; *) echo no way today; exit 1;; esac'
    done = hil_agent_command("boot", "qemu-virt", environment=fake_qemu(tmp_path, script))
    refused(done, WORLD, "no way today")


def test_a_runtime_folder_that_cannot_be_made_is_named(hil_agent_command: CommandLine) -> None:
    refused(
        hil_agent_command("boot", "qemu-virt", environment={"XDG_RUNTIME_DIR": "/proc"}),
        HOST,
        "/proc/hil-agent",
    )


def test_a_runtime_folder_too_deep_for_a_socket_is_refused(
    tmp_path: Path, hil_agent_command: CommandLine
) -> None:
    deep = tmp_path / ("deep" * 20)
    deep.mkdir()
    done = hil_agent_command("boot", "qemu-virt", environment={"XDG_RUNTIME_DIR": str(deep)})
    refused(done, HOST, "XDG_RUNTIME_DIR")
    assert list(deep.glob("hil-agent/*")) == []


def limited(size: int, *command: str | Path) -> list[str]:
    """A command that can write no file larger than ``size`` bytes: what a full disk looks like."""
    return ["prlimit", f"--fsize={size}", "--", *map(str, command)]


def run(command: list[str]) -> Done:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_full_disk_is_said_to_be_one(hil_agent: str) -> None:
    refused(run(limited(0, hil_agent, "boot", "qemu-virt")), HOST, "plan.json", "File too large")


def test_a_full_disk_stops_an_unpacked_kernel(tmp_path: Path, linux: GuestImage, hil_agent: str) -> None:
    kernel = tmp_path / "Image.gz"
    with gzip.open(kernel, "wb", compresslevel=1) as packed:
        packed.write(linux.kernel.read_bytes())
    refused(run(limited(1 << 20, hil_agent, "boot", "qemu-virt", "--kernel", kernel)), HOST, "File too large")


def test_a_disk_that_fills_up_stops_the_logs_and_not_the_guest(
    boot: Boot, hil_agent: str, hil_agent_command: CommandLine
) -> None:
    done = run(limited(8192, hil_agent, "boot", "qemu-virt", "--name", "full"))
    try:
        assert done.returncode == 0, done.stderr
        assert hil_agent_command("exec", "full", "--", "echo still here").stdout == "still here\n"
    finally:
        hil_agent_command("destroy", "full")


# ----------------------------------------------------------------------------------- guest


def test_a_panic_before_the_prompt_is_shown(hil_agent_command: CommandLine) -> None:
    done = hil_agent_command("boot", "qemu-virt", "--append", "init=/nonexistent rdinit=/nonexistent")
    refused(done, WORLD, "Kernel panic - not syncing")


def test_a_guest_that_does_not_come_up_in_time_is_given_up_with_its_last_words(
    hil_agent_command: CommandLine,
) -> None:
    done = hil_agent_command("boot", "qemu-virt", "--until", "never said", "--timeout", "3")
    refused(done, WORLD, "3 s", "linux-minimal ready")
