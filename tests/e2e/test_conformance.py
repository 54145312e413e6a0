"""The probe on real machines: each profile is as it should be, and what is not is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hil_agent.board.load import load_board
from hil_agent.cli.conformance import conformance
from hil_agent.cli.output import run as run_command
from hil_agent.conformance import Lab, Result, Verdict, run, scenarios, select, session_target

pytestmark = pytest.mark.e2e

SEVERAL_HUNDRED = 300
MUTATIONS = Path(__file__).with_name("mutations.py")


@pytest.mark.parametrize("profile", ["spec", "xen", "xen-v16", "kvm", "qemu"])
def test_every_case_passes_on_our_vpsci(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = run_command(conformance, ["qemu-virt", "--profile", profile, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert [result for result in report["results"] if result["verdict"] == "failed"] == []
    assert status == 0
    assert report["passed"] + report["lacks"] > SEVERAL_HUNDRED


def test_calls_that_the_monitor_repeats_are_answered_no_otherwise(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    board = tmp_path / "idle.yaml"
    board.write_text("kind: qemu\ndescription: offers idle states\nidle_states: [standby, power-down]\n")
    status = run_command(conformance, [str(board), "--profile", "spec", "--only", "*suspend*", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert [result for result in report["results"] if result["verdict"] == "failed"] == []
    assert (status, report["passed"] > 0) == (0, True)


def test_qemus_own_psci_lacks_what_it_lacks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    status = run_command(conformance, ["qemu-virt", "--builtin", "--json", "--junit", str(junit)])
    report = json.loads(capsys.readouterr().out)
    assert [result for result in report["results"] if result["verdict"] == "failed"] == []
    assert status == 0
    assert {"SYSTEM_SUSPEND64", "SYSTEM_RESET2_64", "SMCCC_VERSION"} <= set(report["lacking"])
    assert junit.read_bytes().startswith(b"<?xml")


def test_eight_vcpus_and_a_gicv2(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--profile", "xen", "--cpus", "8", "--gic-version", "2", "--only", "*cpu7*"]
    assert run_command(conformance, ["qemu-virt", *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] == 3


def test_two_clusters(capsys: pytest.CaptureFixture[str]) -> None:
    for number, only in ((12, "affinity.cluster.*"), (1, "cpu_on.cpu16")):
        options = ["--profile", "spec", "--cpus", "18", "--only", only]
        assert run_command(conformance, ["qemu-virt", *options, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["passed"] == number


def test_a_case_that_fails_is_shown_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--builtin", "--profile", "spec", "--only", "version"]
    assert run_command(conformance, ["qemu-virt", *options]) == 1
    said = capsys.readouterr().out
    assert "1 failed" in said
    assert "version: DEN0022, PSCI_VERSION" in said


# --------------------------------------------------------------------- every expectation can fail

NOTICED_BY = {
    "wrong version": ("xen", "version", "0x10009"),
    "x4 is lost": ("xen", "version", "0x10001, and changed x4"),
    "x1 is lost": ("xen", "registers.x1_to_x3.MIGRATE_INFO_TYPE", "changed"),
    "unknown IDs succeed": ("xen", "unknown.84000099", "0x0"),
    "features deny": ("xen", "features_agree.CPU_ON64", "no"),
    "smc is refused": ("xen", "conduit.smc.version", "NOT_SUPPORTED"),
    "vCPUs are always on": ("xen", "affinity.off.cpu1.64", "0x0"),
    "CPU_ON of a vCPU that is on succeeds": ("xen", "race.winners", "cpu0: 0x0, cpu1: 0x0, cpu2: 0x0"),
    "CPU_ON of an absent vCPU succeeds": ("xen", "cpu_on.absent.64", "0x0"),
    "CPU_ON takes any entry": ("xen", "cpu_on.off.odd", "0x0"),
    "CPU_ON is lost": ("xen", "cpu_on.cpu1", "did not come back"),
    "CPU_OFF returns": ("xen", "cpu_off.secondary", "0x0"),
    "CPU_OFF loses registers": ("xen", "cpu_on.entry.vbar", "0x0"),
    "standby does not wait": ("xen", "cpu_suspend.waits", "no"),
    "power-down does nothing": ("spec", "cpu_suspend.power_down.64", "0x0"),
    "SYSTEM_SUSPEND is not denied": ("xen", "system_suspend.cpu1_on.64", "0x0"),
    "SYSTEM_RESET switches off": ("xen", "machine.reset", "switched off"),
    "SYSTEM_OFF returns": ("xen", "machine.off", "0x0"),
    "enters an instruction late": ("xen", "cpu_on.cpu1", "entered at 0x40200004, x0=0x1122334455667788"),
    "context ID is lost": ("xen", "system_suspend.landing", "entered, x0=0x0"),
    "debug exceptions are not masked": ("xen", "cpu_on.entry.daif", "0x1c0"),
    "caches are on": ("xen", "system_suspend.entry.mmu_and_caches", "0x4"),
    "x30 is not zero": ("xen", "system_suspend.entry.x1_to_x30", "0x1"),
    "VBAR_EL1 is lost": ("xen", "system_suspend.entry.vbar", "0x1000"),
}


@pytest.mark.parametrize("mutation", NOTICED_BY)
def test_a_mutated_vpsci_is_caught(mutation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile, case, got = NOTICED_BY[mutation]
    start = f"import runpy; runpy.run_path({str(MUTATIONS)!r})['apply']({mutation!r})\n"
    (tmp_path / "sitecustomize.py").write_text(start)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # for the session's process
    board = load_board("qemu-virt").with_overrides(cpus=4, profile=profile)
    with Lab(lambda: session_target(board, lambda _step, _fraction: None)) as lab:
        results: list[Result] = list(run(lab, select(scenarios(), profile, case), profile))
    assert [(each.case.name, each.verdict, each.got) for each in results] == [(case, Verdict.FAILED, got)]
