from __future__ import annotations

import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil_agent.errors import HostError
from hil_agent.guest import catalogue, image
from hil_agent.guest.image import GuestImage

if TYPE_CHECKING:
    from tests.guest.conftest import Repository

WriteRecipe = Callable[..., Path]


def quiet(_step: str, _fraction: float | None) -> None:
    pass


def build(*, refresh: bool = False) -> GuestImage:
    return image.build(catalogue.find("tiny"), quiet, refresh=refresh)


@pytest.fixture(autouse=True)
def _world(repository: Repository, write_recipe: WriteRecipe) -> None:
    write_recipe()


def unpacked(initramfs: Path, folder: Path) -> Path:
    folder.mkdir()
    with initramfs.open("rb") as stream:
        subprocess.run(["busybox", "cpio", "-idm"], stdin=stream, cwd=folder, check=True, capture_output=True)
    return folder


def test_an_image_holds_the_packages_kernel(tmp_path: Path) -> None:
    assert build().kernel.read_bytes()[56:60] == b"ARM\x64"


def test_the_initramfs_holds_files_modules_and_their_indexes(tmp_path: Path) -> None:
    root = unpacked(build().initramfs, tmp_path / "root")
    modules = root / "lib/modules/6.1.0-99-arm64"
    assert (root / "bin/busybox").read_text() == "not really busybox"
    assert stat.S_IMODE((root / "init").stat().st_mode) == 0o755
    assert (modules / "modules.dep").read_text().splitlines() == [
        "kernel/drivers/net/net_failover.ko:",
        "kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko",
    ]
    assert (modules / "modules.alias").read_text() == "alias virtio:d1v* virtio_net\n"


def test_the_manifest_names_every_package_and_file() -> None:
    manifest = build().manifest
    assert {(each.package, each.version) for each in manifest.inputs} == {
        ("linux-image-6.1.0-99-arm64", "1.0"),
        ("busybox-static", "1:1.35+b1"),
    }
    assert {each.file for each in manifest.outputs} == {"kernel", "initramfs"}


def test_a_second_build_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    first = build()
    monkeypatch.setenv("PATH", "")
    assert build() == first


def test_the_same_packages_give_the_same_image() -> None:
    assert build().manifest.outputs == build(refresh=True).manifest.outputs


def test_a_refresh_takes_newer_packages(repository: Repository) -> None:
    build()
    repository.add("busybox-static", version="1:1.36", files={"bin/busybox": b"newer"})
    assert "1:1.36" in {each.version for each in build(refresh=True).manifest.inputs}


def test_a_changed_recipe_is_another_image(write_recipe: WriteRecipe) -> None:
    first = build()
    write_recipe(init="#!/bin/sh\nreboot\n")
    assert build().folder != first.folder


def test_a_damaged_image_is_made_again() -> None:
    first = build()
    first.initramfs.write_bytes(b"")
    assert image.cached(first.recipe) is None
    assert build().initramfs.stat().st_size


def test_two_builders_at_once_make_one_image() -> None:
    steps: list[str] = []
    recipe = catalogue.find("tiny")
    threads = [
        threading.Thread(target=image.build, args=(recipe, lambda step, _: steps.append(step)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert steps.count("packing tiny") == 1


def test_a_file_of_the_recipe_wins_over_one_of_a_package(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    own = write_recipe() / "root" / "bin"
    own.mkdir()
    (own / "busybox").write_text("my own")
    assert (unpacked(build().initramfs, tmp_path / "root") / "bin/busybox").read_text() == "my own"


def test_a_module_that_the_kernel_lacks_is_said_so(write_recipe: WriteRecipe) -> None:
    write_recipe(modules="no_such")
    with pytest.raises(HostError, match="no module no_such"):
        build()


def test_nothing_is_left_of_a_build_that_failed(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    write_recipe(modules="no_such")
    with pytest.raises(HostError):
        build()
    assert not (tmp_path / "cache/hil-agent/guests").exists()


def test_a_cache_that_cannot_be_written_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(HostError, match="cannot create"):
        build()
