"""The machines that the probe runs on: a session of ours, or a QEMU that answers PSCI calls itself."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from hil_agent import api
from hil_agent.board.qemu_schema import QemuBoard
from hil_agent.board.schema import Board, WakeSource
from hil_agent.conformance.probe import Probe, read_labels
from hil_agent.errors import GuestError, HostError, LinkError, TargetError, TargetTimeout, UsageError
from hil_agent.guest import catalogue, image
from hil_agent.host import require
from hil_agent.psci import Conduit
from hil_agent.session import Session, State

GUEST = "psci-probe"
_GICV2_CPUS, _GICV3_CPUS = 8, 16
_LAST_WORDS = 4096


class Target(Protocol):
    """A machine with the probe on it."""

    @property
    def probe(self) -> Probe:
        """The probe, started."""

    @property
    def conduit(self) -> Conduit:
        """The instruction that the guest is told to call with."""

    @property
    def gic_version(self) -> int | None:
        """Version of its interrupt controller, where we know how to set it up."""

    @property
    def wake(self) -> frozenset[WakeSource]:
        """What ends a suspend of the system; nothing where it cannot suspend."""

    def wait_suspended(self, timeout_s: float, /) -> bool:
        """Whether the system suspends in time."""

    def resume(self) -> None:
        """Resumes it."""

    def wait_off(self, timeout_s: float) -> bool:
        """Whether the machine switches itself off in time."""


class _SessionTarget:
    """A session whose vPSCI is what is examined."""

    def __init__(self, session: Session, board: Board, probe: Probe) -> None:
        self.probe = probe
        self.conduit = board.conduit
        self.gic_version = _gic_version(board)
        self.wake = frozenset(board.wake)
        self._session = session

    def wait_suspended(self, timeout_s: float) -> bool:
        return self._reaches(State.SUSPENDED, timeout_s)

    def resume(self) -> None:
        self._session.resume()

    def wait_off(self, timeout_s: float) -> bool:
        return self._reaches(State.OFF, timeout_s)

    def _reaches(self, state: State, timeout_s: float) -> bool:
        try:
            self._session.wait(state, timeout_s=timeout_s)
        except (TargetTimeout, GuestError):
            return False
        return True


class _BuiltinTarget:
    """A QEMU whose own PSCI is what is examined. It has no SYSTEM_SUSPEND."""

    conduit = Conduit.HVC
    wake: frozenset[WakeSource] = frozenset()

    def __init__(self, process: subprocess.Popen[bytes], board: QemuBoard, probe: Probe) -> None:
        self.probe = probe
        self.gic_version = board.gic_version
        self._process = process

    def wait_suspended(self, _timeout_s: float) -> bool:
        return False

    def resume(self) -> None:
        raise GuestError("QEMU's PSCI suspends nothing that could be resumed")

    def wait_off(self, timeout_s: float) -> bool:
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


@contextmanager
def session_target(board: Board, progress: api.Progress) -> Iterator[Target]:
    """Boots the probe on a board; the session is destroyed in the end.

    Raises:
        HostError: this host lacks something.
        TargetError: the probe did not come up.
    """
    labels = read_labels(image.build(catalogue.find(GUEST), progress).kernel)
    with api.boot(board, guest=GUEST, progress=progress) as session, socket.socket(socket.AF_UNIX) as console:
        mpidrs = [int(cpu.mpidr, 16) for cpu in session.status().cpus]
        try:
            console.connect(str(session.folder.console_socket))
        except OSError as error:
            raise LinkError(f"the console of session {session.name} is gone: {error.strerror}") from error
        probe = Probe(console, labels, mpidrs)
        probe.start()
        yield _SessionTarget(session, board, probe)


@contextmanager
def builtin_target(board: Board, progress: api.Progress) -> Iterator[Target]:
    """Starts the probe on a plain QEMU, without any of our code at EL2; it is ended in the end.

    Raises:
        UsageError: the board is no QEMU on this host.
        HostError: this host lacks something.
        TargetError: the probe did not come up.
    """
    if not isinstance(board, QemuBoard):
        raise UsageError(f"--builtin: {board.name} is a board of kind {board.kind}, not qemu")
    kernel = image.build(catalogue.find(GUEST), progress).kernel
    ours, theirs = socket.socketpair()
    with ours, tempfile.TemporaryFile() as said:
        with theirs:
            process = _start(board, kernel, theirs, said)
        try:
            probe = Probe(ours, read_labels(kernel), _mpidrs(board))
            try:
                probe.wait_banner()
            except TargetTimeout as error:
                said.seek(0)
                words = said.read(_LAST_WORDS).decode(errors="replace").strip()
                raise TargetError(f"the probe does not start on {board.qemu}: {words or error}") from error
            probe.start()
            yield _BuiltinTarget(process, board, probe)
        finally:
            process.kill()
            process.wait()


def _start(
    board: QemuBoard, kernel: Path, console: socket.socket, said: IO[bytes]
) -> subprocess.Popen[bytes]:
    command = [
        *(str(require("setpriv")), "--pdeathsig", "KILL", "--", str(require(board.qemu))),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", f"virt,gic-version={board.gic_version}", "-cpu", board.cpu),
        *("-smp", str(board.cpus), "-m", f"{board.memory >> 20}M", "-kernel", str(kernel)),
        *("-chardev", f"socket,id=serial,fd={console.fileno()}", "-serial", "chardev:serial"),
        *board.qemu_arg,
    ]
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, pass_fds=[console.fileno()]
        )
    except OSError as error:
        raise HostError(f"{command[0]} cannot be started: {error.strerror}") from error


def _mpidrs(board: QemuBoard) -> list[int]:
    """QEMU fills one Aff1 group after the other, as many as its GIC can address (hw/arm/virt.c)."""
    group = _GICV2_CPUS if board.gic_version == 2 else _GICV3_CPUS  # noqa: PLR2004 - a version
    return [cpu // group << 8 | cpu % group for cpu in range(board.cpus)]


def _gic_version(board: Board) -> int | None:
    return board.gic_version if isinstance(board, QemuBoard) else None
