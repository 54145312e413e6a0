from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what a wheel is made from."""
    tree = tmp_path / "tree"
    for folder in ("hil_agent", "boards", "guest_images"):
        shutil.copytree(CHECKOUT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "hatch_build.py"):
        shutil.copy(CHECKOUT / file, tree)
    (tree / "README.md").touch()
    return tree


def build(tree: Path, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "out"],
        cwd=tree,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_wheel_has_all_that_an_installed_agent_needs(tree: Path) -> None:
    result = build(tree, os.environ["PATH"])
    assert result.returncode == 0, result.stderr
    with zipfile.ZipFile(next(tree.glob("out/*.whl"))) as wheel:
        assert wheel.read("hil_agent/el2/monitor.elf").startswith(b"\x7fELF")
        probe = hashlib.sha256((tree / "guest_images/psci-probe/probe.S").read_bytes()).hexdigest()
        assert wheel.read(f"hil_agent/data/assembled/{probe}.elf").startswith(b"\x7fELF")
        assert {
            "hil_agent/py.typed",
            "hil_agent/data/boards/qemu-virt.yaml",
            "hil_agent/data/guest_images/linux-minimal/guest.yaml",
        } <= set(wheel.namelist())


def test_without_an_assembler_it_is_said_what_is_missing(tree: Path) -> None:
    result = build(tree, "")
    assert result.returncode != 0
    assert "binutils-aarch64-linux-gnu" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
