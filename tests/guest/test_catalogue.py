from collections.abc import Callable
from pathlib import Path

import pytest

from hil_agent.errors import FileError, NotFoundError
from hil_agent.guest import catalogue
from hil_agent.guest.catalogue import Recipe

WriteRecipe = Callable[..., Path]


def change(folder: Path, old: str, new: str) -> None:
    file = folder / "guest.yaml"
    file.write_text(file.read_text().replace(old, new))


def test_every_guest_that_comes_along_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert "linux-minimal" in [Recipe.read(folder).name for folder in catalogue.folders().values()]


def test_a_users_own_guest_hides_ours_of_the_same_name(write_recipe: WriteRecipe) -> None:
    folder = write_recipe("linux-minimal")
    assert catalogue.find("linux-minimal").folder == folder


@pytest.mark.parametrize("name", ["nowhere", "../guest_images/linux-minimal", "", "/"])
def test_an_unknown_guest_is_not_found(name: str) -> None:
    with pytest.raises(NotFoundError, match=r"(?s)no guest is called.*known: .*linux-minimal"):
        catalogue.find(name)


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("kernel: linux-image-arm64", "kernel: ../linux", 2, "kernel"),
        ("files: [bin/busybox]", "files: [/bin/busybox]", 3, "packages.0.files.0"),
        ("files: [bin/busybox]", "files: [.]", 3, "packages.0.files.0"),
        ("ready: ^ready", "ready: (", 5, "ready"),
        ("ready: ^ready", "reddy: ^ready", 5, "reddy"),
    ],
)
def test_a_broken_recipe_is_named_by_line_and_field(
    write_recipe: WriteRecipe, old: str, new: str, line: int, field: str
) -> None:
    change(folder := write_recipe(), old, new)
    with pytest.raises(FileError) as caught:
        catalogue.find("tiny")
    assert (caught.value.path, caught.value.line, caught.value.field) == (folder / "guest.yaml", line, field)


def test_a_recipe_without_init_is_refused(write_recipe: WriteRecipe) -> None:
    (write_recipe() / "root/init").unlink()
    with pytest.raises(FileError, match="root/init: is missing"):
        catalogue.find("tiny")


def test_the_fingerprint_stays_while_the_recipe_does(write_recipe: WriteRecipe) -> None:
    folder = write_recipe()
    assert Recipe.read(folder).fingerprint() == Recipe.read(folder).fingerprint()


def test_the_fingerprint_changes_with_whatever_goes_into_the_image(write_recipe: WriteRecipe) -> None:
    folder = write_recipe()
    seen = [Recipe.read(folder).fingerprint()]
    (folder / "root/init").write_text("#!/bin/sh\nexit\n")
    seen.append(Recipe.read(folder).fingerprint())
    (folder / "root/more").write_text("")
    seen.append(Recipe.read(folder).fingerprint())
    change(folder, "virtio-net", "virtio-blk")
    seen.append(Recipe.read(folder).fingerprint())
    assert len(set(seen)) == 4


def test_the_symbols_of_a_recipe_are_relative_to_its_folder(write_recipe: WriteRecipe) -> None:
    folder = write_recipe()
    before = Recipe.read(folder)
    change(folder, "kernel: linux", "symbols: build/vmlinux\nkernel: linux")
    after = Recipe.read(folder)
    assert (before.symbols, after.symbols) == (None, folder / "build" / "vmlinux")
    assert after.fingerprint() == before.fingerprint()
