"""Bare-metal guests: recipes with an assembly source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hil_agent.errors import FileError, HostError
from hil_agent.guest import catalogue, image
from hil_agent.guest.image import GuestImage
from hil_agent.guest.kernel import KernelKind, recognise

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a recipe among the user's own; the user's folders are otherwise empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def write(source: str = "entry: b .\n", name: str = "idle.S") -> Path:
        folder = tmp_path / "config/hil-agent/guest_images/idle"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "guest.yaml").write_text(f"description: for tests\nassembly: {name}\nready: ^ready\n")
        (folder / "idle.S").write_text(f".global entry\n{source}")
        return folder

    return write


def build() -> GuestImage:
    return image.build(catalogue.find("idle"), lambda _step, _fraction: None)


def test_the_image_is_an_elf_file_that_can_be_booted(write: Write) -> None:
    write()
    assert recognise(build().kernel).kind is KernelKind.ELF


def test_it_is_made_once(write: Write) -> None:
    write()
    first = build()
    assert image.cached(catalogue.find("idle")) == first == build()


def test_a_changed_source_is_another_image(write: Write) -> None:
    write()
    first = build()
    write("entry: wfi\n b entry\n")
    assert build().folder != first.folder


def test_a_source_that_cannot_be_assembled_is_named(write: Write) -> None:
    folder = write("entry: nonsense\n")
    with pytest.raises(FileError, match=rf"(?s){folder}/idle.S: .*unknown mnemonic `nonsense'"):
        build()


def test_without_an_assembler_it_is_said_how_to_get_one(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(HostError, match=r"(?s)aarch64-linux-gnu-as.*binutils-aarch64-linux-gnu"):
        build()


def test_a_source_that_is_missing_is_named(write: Write) -> None:
    folder = write(name="other.S")
    with pytest.raises(FileError, match=rf"{folder}/other.S: cannot be read"):
        catalogue.find("idle")


@pytest.mark.parametrize("name", ["../idle.S", "/etc/passwd", ".hidden.S"])
def test_a_source_is_in_the_recipes_own_folder(write: Write, name: str) -> None:
    write(name=name)
    with pytest.raises(FileError, match="assembly"):
        catalogue.find("idle")
