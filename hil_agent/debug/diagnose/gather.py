"""Gathers everything about a session into one folder; what fails keeps nobody from the rest."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from hil_agent import __version__
from hil_agent.board.qemu_schema import QemuBoard
from hil_agent.debug.diagnose import files, rules, summary
from hil_agent.debug.diagnose.evidence import Diagnosis, Evidence, Vcpu
from hil_agent.debug.diagnose.gaps import Gaps
from hil_agent.debug.diagnose.gic import Interrupt, interrupt_names, read_interrupts
from hil_agent.debug.diagnose.machine import PhysicalMemory, kernel_regime, read_vcpus
from hil_agent.debug.gdb import Gdb
from hil_agent.debug.kernel import KernelFile, LiveKernel
from hil_agent.errors import FileError, GuestError, HostError, ProtocolError, StateError
from hil_agent.guest.device_tree import describe
from hil_agent.session.client import Session
from hil_agent.session.documents import Status, TraceRecord
from hil_agent.session.plan import BootPlan
from hil_agent.session.protocol import decode

_KEPT: Final = 500
_LONGEST: Final = 1 << 20
"""Bytes of a file, its end, that are looked at."""

_VERSION_TIMEOUT_S: Final = 10.0
_SPARE: Final = 64 << 20
"""Bytes that are left free when the core is written."""

_CORE: Final = "memory.core"

_COPIES: Final = {
    "plan.json": "what was booted",
    "device-tree.dtb": "the device tree that the guest was given",
    "journal.jsonl": "every event of the session, its calls among them",
    "console.log": "all that the guest has said",
    "session.log": "what the session has said about itself",
    "qemu.log": "what QEMU has said",
}


def diagnose(session: Session, folder: Path, *, core: bool = True) -> Diagnosis:
    """Gathers all that can be had about a session, whatever state it is in, and says what may be wrong.

    A guest that runs stands while gdb looks at it, and then goes on.

    Args:
        session: the session.
        folder: where everything goes; it must not exist. Only this user can look into it.
        core: whether an ELF core is written, which is as large as the guest's memory.

    Raises:
        FileError: the folder cannot be made.
        NotFoundError: the session is gone.
    """
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise FileError(f"cannot be made: {error.strerror}", path=folder) from error
    return _Gathering(session, folder).run(core=core)


class _Gathering:
    """One diagnosis in the making."""

    def __init__(self, session: Session, folder: Path) -> None:
        self._session = session
        self._folder = folder
        self._gaps = Gaps()
        self._files: dict[str, str] = {}

    def run(self, *, core: bool) -> Diagnosis:
        """Gathers, concludes, writes."""
        status = self._session.status()
        plan = self._plan()
        calls, events = self._journal()
        seen, kernel = _Seen(), self._kernel(plan)
        with ExitStack() as stack:  # while gdb holds the machine, all that is read belongs together
            with self._gaps.noting("what only gdb can tell"):
                gdb = stack.enter_context(_attach(status))
                seen = self._look(gdb, status, kernel)
            if core:
                with self._gaps.noting(_CORE):
                    self._dump(status, plan)
        self._copy()
        evidence = Evidence(
            status=status,
            plan=plan,
            calls=calls,
            events=events,
            vcpus=seen.vcpus,
            interrupts=seen.interrupts,
            kernel_log=seen.kernel_log,
            console=self._console(),
            missing=tuple(self._gaps.found),
        )
        self._write("status.json", status.model_dump_json(indent=2), "what hil-agent status said")
        for name, (what, render) in files.FILES.items():
            if text := render(evidence):
                self._write(name, text, what)
        versions = json.dumps(_versions(plan), indent=2)
        self._write("versions.json", versions, "versions of programs, hashes of what was booted")
        findings = rules.conclude(evidence)
        text = summary.render(evidence, findings, self._files)
        self._write("summary.md", text, "this")
        return Diagnosis(self._folder, evidence, findings, self._files)

    # ------------------------------------------------------------------ the session's files

    def _plan(self) -> BootPlan | None:
        with self._gaps.noting("what was booted"):
            return BootPlan.read(self._session.folder.plan)
        return None

    def _journal(self) -> tuple[tuple[TraceRecord, ...], tuple[Mapping[str, Any], ...]]:
        """The last calls, and the last other events; also of a session that has died."""
        calls: deque[TraceRecord] = deque(maxlen=_KEPT)
        events: deque[Mapping[str, Any]] = deque(maxlen=_KEPT)
        with self._gaps.noting("the journal"):
            for line in _tail(self._session.folder.journal).splitlines():
                try:
                    record = decode(line)
                    if "event" in record:
                        events.append(record)
                    else:
                        calls.append(TraceRecord.model_validate(record))
                except (ProtocolError, ValidationError):
                    continue  # cut off: its beginning by us, its end by the death of the session
        return tuple(calls), tuple(events)

    def _console(self) -> tuple[str, ...]:
        with self._gaps.noting("the console"):
            return tuple(_tail(self._session.folder.console_log).decode(errors="replace").splitlines())
        return ()

    def _copy(self) -> None:
        for name, what in _COPIES.items():
            with self._gaps.noting(what):
                source = self._session.folder.path / name
                if source.exists():
                    self._write(name, _tail(source), what)

    def _write(self, name: str, content: str | bytes, what: str) -> None:
        path = self._folder / name
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(content.encode(errors="replace") if isinstance(content, str) else content)
        self._files[name] = what

    # ------------------------------------------------------------------------ the machine

    def _kernel(self, plan: BootPlan | None) -> KernelFile | None:
        with self._gaps.noting("the kernel's symbols"):
            return KernelFile.of(plan) if plan else None
        return None

    def _look(self, gdb: Gdb, status: Status, kernel: KernelFile | None) -> _Seen:
        memory = PhysicalMemory(gdb)
        live = None
        if kernel is not None:
            with self._gaps.noting("where the kernel runs"):
                with memory.reading():
                    live = kernel.locate(memory.read)
                for command in live.gdb_commands:
                    gdb.console(command)
        vcpus = read_vcpus(gdb, memory, status, live.name if live else _no_symbol, self._gaps)
        log = self._kernel_log(memory, live, vcpus) if live else ()
        return _Seen(vcpus, self._interrupts(memory, len(vcpus)), log)

    def _kernel_log(
        self, memory: PhysicalMemory, kernel: LiveKernel, vcpus: Iterable[Vcpu]
    ) -> tuple[str, ...]:
        with self._gaps.noting("the kernel's log in its memory"):
            known = chain((vcpu.registers for vcpu in vcpus), self._registers_at_suspend())
            regime = next(filter(None, map(kernel_regime, known)), None)
            if regime is None:
                raise GuestError("no vCPU has its MMU on")
            with memory.reading():
                return kernel.log(partial(memory.read_virtual, regime=regime))
        return ()

    def _registers_at_suspend(self) -> Iterator[Mapping[str, int]]:
        """Those of the last suspend: a vCPU that was resumed does not have its page tables at once."""
        for registers in self._session.registers().suspended.values():
            yield {name: int(value, 16) for name, value in registers.items()}

    def _interrupts(self, memory: PhysicalMemory, cpus: int) -> tuple[Interrupt, ...]:
        with self._gaps.noting("the interrupt controller"):
            tree = self._session.folder.device_tree
            dtb = tree.read_bytes()
            if gic := describe(dtb, tree).gic:
                with memory.reading():
                    return read_interrupts(gic, cpus, memory.word, interrupt_names(dtb))
        return ()

    def _dump(self, status: Status, plan: BootPlan | None) -> None:
        if status.target_pid is None:
            raise StateError("the machine is gone")
        free = shutil.disk_usage(self._folder).free
        if plan is not None and free < plan.board.ram.size + _SPARE:
            raise HostError(f"{free >> 20} MiB are free, of {plan.board.ram.size >> 20} that are needed")
        self._session.dump(self._folder / _CORE)
        self._files[_CORE] = "an ELF core: the guest's physical memory, and every vCPU's registers"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What gdb has told."""

    vcpus: tuple[Vcpu, ...] = ()
    interrupts: tuple[Interrupt, ...] = ()
    kernel_log: tuple[str, ...] = ()


def _no_symbol(_address: int) -> None:
    """There are no symbols."""


def _attach(status: Status) -> Gdb:
    if status.target_pid is None:
        raise StateError("the machine is gone")
    if status.gdb is None:
        raise StateError("the session offers no debug stub")
    if status.gdb.startswith("/"):
        return Gdb(Path(status.gdb))
    host, _, port = status.gdb.rpartition(":")
    return Gdb((host, int(port)))


def _tail(path: Path) -> bytes:
    """The last part of a file, from the beginning of a line."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LONGEST))
        data = file.read(_LONGEST)
    return data if size <= _LONGEST else data.partition(b"\n")[2]


def _versions(plan: BootPlan | None) -> dict[str, str]:
    """Versions of all that takes part, and hashes of what was booted."""
    found = {
        "hil-agent": __version__,
        "python": platform.python_version(),
        "host": platform.platform(),
        "gdb-multiarch": _version("gdb-multiarch"),
    }
    if plan is None:
        return found
    if isinstance(plan.board, QemuBoard):
        found[plan.board.qemu] = _version(plan.board.qemu)
    guest = plan.guest
    booted = (guest.kernel, guest.initramfs, guest.device_tree, guest.symbols)
    return found | {str(path): _sha256(path) for path in booted if path is not None}


def _version(program: str) -> str:
    try:
        said = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"cannot be run: {error}"
    return said.stdout.partition("\n")[0]


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
