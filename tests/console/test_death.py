from __future__ import annotations

import pytest

from hil_agent.console.death import PANICS, REBOOTS, REPORT_LINES, DeathWatch

PANIC = (
    b"[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n"
    b"[    1.2] CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.1.0\r\n"
    b"[    1.3] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs ]---\r\n"
)


def test_the_report_goes_from_its_first_line_to_its_last() -> None:
    report = DeathWatch().feed(b"before\r\n" + PANIC + b"after\r\n")
    assert report == PANIC.replace(b"\r", b"").decode().strip()


def test_a_report_is_found_however_it_is_split() -> None:
    watch = DeathWatch()
    reports = [watch.feed(PANIC[at : at + 1]) for at in range(len(PANIC))]
    assert [report.count("\n") for report in reports if report] == [2]


def test_a_panic_in_the_middle_of_a_line_is_found() -> None:
    assert DeathWatch().feed(b"half a li" + PANIC)


@pytest.mark.parametrize("line", [b"~ # echo Kernel panic - not syncing: \r\n", b"Kernel panic?\r\n"])
def test_talk_of_a_panic_is_none(line: bytes) -> None:
    watch = DeathWatch()
    watch.feed(line)
    assert not watch.dying


def test_a_report_without_an_end_has_a_bound() -> None:
    watch = DeathWatch()
    watch.feed(PANIC.splitlines(keepends=True)[0])
    assert [bool(watch.feed(b"line\n")) for _ in range(REPORT_LINES)].index(True) == REPORT_LINES - 2


def test_what_there_is_of_a_report_can_be_had() -> None:
    watch = DeathWatch()
    watch.feed(b"Kernel panic - not syncing: Attempted to kill init!\r\nCPU: 0")
    assert watch.flush() == "Kernel panic - not syncing: Attempted to kill init!"


def test_a_boot_is_a_death_for_who_runs_commands() -> None:
    assert DeathWatch(PANICS + REBOOTS).feed(b"[    0.0] Booting Linux on physical CPU 0x0000000000\r\n")


def test_an_endless_line_is_no_burden() -> None:
    watch = DeathWatch()
    for _ in range(1000):
        watch.feed(b"x" * 1000)
    assert watch.feed(b"\r\n" + PANIC)
