"""Boards of kind ``qemu``: QEMU's ``virt`` machine, as a child process of the session.

QEMU is handed listening sockets, so that there is no moment at which one of them does not
exist yet, and no port anywhere. It starts stopped, at the monitor's entry.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from qemu.qmp import ExecuteError, QMPError
from qemu.qmp.legacy import QEMUMonitorProtocol

from hil_agent.board.qemu_schema import Network, QemuBoard
from hil_agent.errors import HilAgentError, HostError, LinkError, TargetError, UsageError
from hil_agent.guest.layout import Blob
from hil_agent.host import MINIMUM_QEMU, read_version, require
from hil_agent.trap.kinds import get_trap_source

_LAST_WORDS = 4096
_TIMEOUT_S = 10.0
_DUMP_TIMEOUT_S = 300.0
_LONGEST_PATH = 107


class QemuMachine:
    """A running QEMU; a context manager that ends it.

    Args:
        board: what machine it is.
        blobs: what is placed in its memory, again at every reset.
        entry: where vCPU 0 starts, at EL2 if the trap source needs that.
        folder: the session's folder, for sockets and for what QEMU says.
    """

    def __init__(self, board: QemuBoard, blobs: Sequence[Blob], entry: int, folder: Path) -> None:
        self._board = board
        self._blobs = blobs
        self._entry = entry
        self._folder = folder
        self._log = folder / "qemu.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = require(self._board.qemu)
        with contextlib.ExitStack() as stack:
            listeners = {name: stack.enter_context(self._listen(name)) for name in ("stub", "serial", "qmp")}
            command = self._command(program, {name: each.fileno() for name, each in listeners.items()})
            log = stack.enter_context(self._log.open("wb"))
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[listener.fileno() for listener in listeners.values()],
                    start_new_session=True,
                )
            except OSError as error:
                raise HostError(f"{command[0]} cannot be started: {error.strerror}") from error
        try:
            self._wait_set_up(program)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def pid(self) -> int | None:
        """Process ID of the QEMU that runs; None if it has ended."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process else None

    def connect_stub(self) -> socket.socket:
        """A connection to QEMU's GDB stub, which serves one at a time.

        Raises:
            LinkError: QEMU is gone.
        """
        return self._connect("stub")

    def connect_console(self) -> socket.socket:
        """A connection to the guest's first serial port.

        Raises:
            LinkError: QEMU is gone.
        """
        return self._connect("serial")

    def reset(self) -> None:
        """Resets the machine: memory as it was loaded, vCPU 0 at the entry, all others off.

        Raises:
            LinkError: QEMU is gone or does not answer.
        """
        try:
            with self._monitor() as qmp:
                qmp.cmd("system_reset")
                while (event := qmp.pull_event(wait=_TIMEOUT_S)) and event["event"] != "RESET":
                    continue
        except (QMPError, OSError) as error:
            raise LinkError(f"QEMU does not reset the machine: {error}; {self.last_words()}") from error

    def dump(self, path: Path) -> None:
        """Writes all of its RAM and its vCPUs' registers into an ELF core; it stands meanwhile.

        Args:
            path: a file that exists, with the permissions that it shall have.

        Raises:
            LinkError: QEMU is gone or does not answer.
            TargetError: QEMU cannot write it.
        """
        try:
            with self._monitor(_DUMP_TIMEOUT_S) as qmp:
                qmp.cmd("dump-guest-memory", paging=False, protocol=f"file:{path}")
        except ExecuteError as error:
            raise TargetError(f"QEMU cannot dump the guest's memory: {error}") from error
        except (QMPError, OSError) as error:
            raise LinkError(f"QEMU does not dump the guest's memory: {error}; {self.last_words()}") from error

    def last_words(self) -> str:
        """How QEMU ended and what it said last."""
        if self._process is None:
            return "QEMU was not started"
        try:
            status = self._process.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            how = "runs, but does not answer"
        else:
            how = (
                f"was killed by {signal.Signals(-status).name}"
                if status < 0
                else f"ended with status {status}"
            )
        try:
            said = self._log.read_bytes()[-_LAST_WORDS:].decode(errors="replace").strip()
        except OSError as error:
            said = f"({self._log}: {error.strerror})"
        return f"QEMU {how}{': ' + said if said else ''}"

    # ------------------------------------------------------------------------- within

    def _command(self, program: Path, sockets: dict[str, int]) -> list[str]:
        board = self._board
        el2 = "on" if get_trap_source(board.trap).needs_el2 else "off"
        machine = f"virt,virtualization={el2},gic-version={board.gic_version}"
        return [
            # A QEMU whose session was killed holds a guest that nobody answers: the kernel ends it.
            *(str(require("setpriv")), "--pdeathsig", "KILL", "--", str(program)),
            *(
                "-name",
                f"hil-agent-{self._folder.name}",
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
            ),
            *("-machine", machine, "-cpu", board.cpu, "-smp", str(board.cpus)),
            *("-m", f"{board.memory >> 20}M", "-S"),
            # Only Secure state, which this machine does not have, may send commands to the flash. Of anything
            # else a write is an external abort, and no longer takes the EL2 monitor's code away.
            *("-global", "driver=cfi.pflash01,property=secure,value=on"),
            *(word for name, fd in sockets.items() for word in _chardev(name, fd)),
            *("-serial", "chardev:serial", "-gdb", "chardev:stub", "-mon", "chardev=qmp,mode=control"),
            *(word for blob in self._blobs for word in _loader(blob)),
            *("-device", f"loader,addr={self._entry:#x},cpu-num=0"),
            *_NETWORK[board.network],
            *board.qemu_arg,
        ]

    def _connect(self, name: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self._folder / f"{name}.sock"))
        except OSError as error:
            connection.close()
            raise LinkError(self.last_words()) from error
        return connection

    @contextlib.contextmanager
    def _listen(self, name: str) -> Iterator[socket.socket]:
        path = self._folder / f"{name}.sock"
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise HostError(
                f"{path} is too long for a unix socket ({_LONGEST_PATH} bytes)",
                hint="set XDG_RUNTIME_DIR to a shorter path",
            )
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen(1)
            yield listener

    @contextlib.contextmanager
    def _monitor(self, timeout_s: float = _TIMEOUT_S) -> Iterator[QEMUMonitorProtocol]:
        """QEMU's monitor, for as long as it is needed.

        At the end somebody connects once more who never negotiates capabilities. That puts the monitor into a
        state in which QEMU has no events to tell: a STOP and a RESUME for every trapped call would cost each
        of them time.
        """
        qmp = QEMUMonitorProtocol(str(self._folder / "qmp.sock"))
        qmp.settimeout(timeout_s)
        try:
            qmp.connect()
            yield qmp
        finally:
            qmp.close()
            with contextlib.suppress(LinkError, OSError), self._connect("qmp") as silent:
                silent.settimeout(_TIMEOUT_S)
                silent.recv(_LAST_WORDS)

    def _wait_set_up(self, program: Path) -> None:
        """Waits until QEMU has set up its machine; the greeting alone comes before."""
        try:
            with self._monitor() as qmp:
                answer = cast("dict[str, dict[str, int]]", qmp.cmd("query-version"))
        except (QMPError, OSError):
            raise self._refusal(program) from None
        version = answer["qemu"]["major"], answer["qemu"]["minor"]
        if version < MINIMUM_QEMU:
            raise _too_old(program, version)

    def _refusal(self, program: Path) -> HilAgentError:
        """Why QEMU did not start: what of it is the user's doing is said as such."""
        words = self.last_words()
        version = read_version(str(program))
        if version < MINIMUM_QEMU:
            return _too_old(program, version)
        for sign, option in _USERS_FAULT.items():
            if sign in words:
                return UsageError(f"QEMU refuses the machine ({option}): {words}")
        if "Cannot allocate memory" in words or "cannot set up guest memory" in words:
            return HostError(words, hint="the host has not enough memory for this guest")
        return TargetError(f"QEMU does not start: {words}")

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


_NETWORK = {
    Network.NONE: (),
    Network.USER: ("-netdev", "user,id=net0", "-device", "virtio-net-device,netdev=net0"),
}

_USERS_FAULT = {
    "unable to find CPU model": "--cpu",
    "Property '": "--cpu",
    "invalid option": "--qemu-arg",
    "Some ROM regions are overlapping": "where things are loaded",
}


def _chardev(name: str, fd: int) -> tuple[str, str]:
    return "-chardev", f"socket,id={name},fd={fd},server=on,wait=off"


def _loader(blob: Blob) -> tuple[str, str]:
    path = str(blob.path).replace(",", ",,")
    return "-device", f"loader,file={path},addr={blob.address:#x},force-raw=on"


def _too_old(program: Path, version: tuple[int, int]) -> HostError:
    return HostError(
        f"{program} is QEMU {version[0]}.{version[1]}, which is too old",
        hint=f"{MINIMUM_QEMU[0]}.{MINIMUM_QEMU[1]} is the oldest that will do; see hil-agent doctor",
    )
