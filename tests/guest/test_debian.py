from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil_agent.errors import HostError
from hil_agent.guest.debian import Apt, contents, read_member

if TYPE_CHECKING:
    from tests.guest.conftest import Repository


def quiet(_step: str, _fraction: float | None) -> None:
    pass


@pytest.fixture
def apt(repository: Repository, tmp_path: Path) -> Apt:
    apt = Apt(tmp_path / "apt")
    apt.update(quiet)
    return apt


def test_a_metapackage_is_resolved_to_the_kernel_that_it_names(apt: Apt) -> None:
    assert apt.concrete("linux-image-arm64") == "linux-image-6.1.0-99-arm64"


def test_a_package_that_is_no_metapackage_is_itself(apt: Apt) -> None:
    assert apt.concrete("linux-image-6.1.0-99-arm64") == "linux-image-6.1.0-99-arm64"


def test_an_unknown_package_is_the_hosts_fault(apt: Apt) -> None:
    with pytest.raises(HostError, match="no arm64 package linux-image-nowhere"):
        apt.concrete("linux-image-nowhere")


def test_a_package_is_fetched_with_its_version_and_hash(apt: Apt) -> None:
    (package,) = apt.download(["busybox-static"], quiet)
    assert (package.name, package.version, len(package.sha256)) == ("busybox-static", "1:1.35+b1", 64)
    assert package.path.is_file()


def test_a_package_with_a_wrong_hash_is_refused(repository: Repository, apt: Apt) -> None:
    repository.index(lie_about="busybox-static")
    apt.update(quiet)
    with pytest.raises(HostError, match="Hash Sum mismatch"):
        apt.download(["busybox-static"], quiet)


def test_a_package_that_was_damaged_in_the_cache_is_fetched_again(apt: Apt) -> None:
    (package,) = apt.download(["busybox-static"], quiet)
    package.path.write_bytes(bytes(package.path.stat().st_size))
    with pytest.raises(HostError, match="was damaged"):
        apt.download(["busybox-static"], quiet)
    assert apt.download(["busybox-static"], quiet) == [package]


def test_without_any_source_apts_own_reason_is_given(repository: Repository, tmp_path: Path) -> None:
    repository.folder.rename(tmp_path / "away")
    apt = Apt(tmp_path / "apt")
    apt.update(quiet)
    with pytest.raises(
        HostError, match=r"no arm64 package linux-image-arm64: .* does not have a Release file"
    ):
        apt.concrete("linux-image-arm64")


def test_archives_that_the_lists_no_longer_name_are_dropped(repository: Repository, apt: Apt) -> None:
    (old,) = apt.download(["busybox-static"], quiet)
    repository.add("busybox-static", version="2")
    apt.update(quiet)
    assert not old.path.exists()


def test_a_file_is_read_out_of_a_package(apt: Apt) -> None:
    (package,) = apt.download(["busybox-static"], quiet)
    with contents(package) as files:
        assert read_member(files, "bin/busybox") == b"not really busybox"


def test_a_file_that_a_package_lacks_is_said_so(apt: Apt) -> None:
    (package,) = apt.download(["busybox-static"], quiet)
    with contents(package) as files, pytest.raises(HostError, match="0 files of a package match bin/none"):
        read_member(files, "bin/none")


def test_a_broken_package_is_said_so(apt: Apt) -> None:
    (package,) = apt.download(["busybox-static"], quiet)
    package.path.write_bytes(b"not a package")
    with pytest.raises(HostError, match="cannot be unpacked"), contents(package):
        pass


def test_a_host_without_apt_is_told_what_to_do(apt: Apt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(HostError, match="there is no apt-cache here"):
        apt.concrete("linux-image-arm64")
