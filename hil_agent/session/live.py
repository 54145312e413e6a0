"""A session from within: everything that belongs to one live guest, held together."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Self

from hil_agent.board.schema import Board, TrustedOsKind, WakeSource
from hil_agent.console import Cancellation, Cancelled, ConsoleHub
from hil_agent.el2.idle import RepeatedAnswers
from hil_agent.engine.events import Crashed, Entered, Event, Ready, Stopped, SwitchedOff, WasReset
from hil_agent.engine.executor import Executor
from hil_agent.engine.loop import TargetLoop
from hil_agent.engine.run_control import RunControl
from hil_agent.errors import FileError, HostError, LinkError, UsageError
from hil_agent.guest import flat_tree
from hil_agent.guest.device_tree import MachineDescription, describe, patch
from hil_agent.guest.kernel import recognise
from hil_agent.guest.layout import Layout, plan_layout
from hil_agent.psci import (
    Conduit,
    EntryState,
    Profile,
    TrustedOs,
    VirtualPsci,
    get_profile,
    with_trusted_os,
)
from hil_agent.psci.entry import PSTATE_DAIF, PSTATE_EL1H, SCTLR_EL1_RESET
from hil_agent.psci.faults import FaultInjector
from hil_agent.psci.pass_through import passed_on
from hil_agent.psci.version import V0_2, V1_0
from hil_agent.rsp import Client
from hil_agent.session.control import ControlServer
from hil_agent.session.folder import SessionFolder
from hil_agent.session.guest_shell import GuestShell
from hil_agent.session.journal import Journal
from hil_agent.session.plan import BootPlan
from hil_agent.session.service import Service
from hil_agent.session.state import StateCell
from hil_agent.stub.monitor import Bench, MonitorCommands
from hil_agent.stub.server import GdbServer
from hil_agent.stub.target import Target
from hil_agent.stub.view import View
from hil_agent.trap.kind import Setting
from hil_agent.trap.kinds import get_trap_source
from hil_agent.trap.monitor import Monitor

_log = logging.getLogger(__name__)

_NO_LIMIT_S = 365 * 24 * 3600.0


class LiveSession:
    """Everything from the machine to the control socket; entering it starts the guest.

    Args:
        plan: what is booted.
        folder: the session's folder.

    Raises:
        UsageError: the plan cannot be carried out.
        HostError: this host lacks something.
        TargetError: the machine does not start.
    """

    def __init__(self, plan: BootPlan, folder: SessionFolder) -> None:
        self._plan = plan
        self._folder = folder
        self._cell = StateCell()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self) -> None:
        """Serves the guest until :meth:`end`; in the thread that entered the session."""
        self._loop.run()

    def end(self) -> None:
        """Has :meth:`run` return; from any thread or signal handler."""
        self._loop.end()

    def _start(self, stack: ExitStack) -> None:
        plan, folder, board = self._plan, self._folder, self._plan.board
        profile = _profile(board)
        trap_source = get_trap_source(board.trap)
        monitor = Monitor.load(trap_source.monitor)
        layout = _layout(plan, monitor)
        code = board.rom.start if board.rom else layout.monitor.start + monitor.areas_size(board.cpus)
        journal = stack.enter_context(Journal(folder.journal))
        try:
            blobs = layout.blobs(folder.path)
        except OSError as error:
            raise HostError(f"cannot write to {folder.path}: {error.strerror}") from error
        machine = stack.enter_context(board.open(blobs, code + monitor.labels["entry"], folder.path))
        hub = stack.enter_context(
            ConsoleHub(
                machine.connect_console(),
                log_path=folder.console_log,
                socket_path=folder.console_socket,
                on_death=self._on_death,
            )
        )
        client = stack.enter_context(Client(machine.connect_stub()))
        client.handshake()
        tree, description, conduit_below = _device_tree(plan, profile, layout, client)
        folder.device_tree.write_bytes(tree)
        if description.gic is None:
            raise UsageError("the device tree has no GICv2 or GICv3, which the monitor needs")
        source = trap_source.make(
            Setting(
                client,
                monitor,
                code=code,
                reserved=layout.monitor,
                gic=description.gic,
                wake_by_interrupt=WakeSource.IRQ in board.wake,
                wake_by_timer=WakeSource.TIMER in board.wake,
                kernel=layout.kernel,
                conduit=board.conduit,
                conduit_below=conduit_below,
            )
        )
        vpsci = VirtualPsci(
            profile,
            description.cpus,
            [range(memory.start, memory.end) for memory in description.memory],
            board.conduit,
            context_order=board.context_order,
            pass_through=passed_on(board.pass_through),
        )
        faults = FaultInjector(vpsci, plan.faults.rules, plan.faults.seed)
        repeated = None
        if board.idle_states and trap_source.repeats_answers:
            repeated = RepeatedAnswers(
                vpsci,
                faults.call,
                lambda function: self._executor.may_repeat(function) and not faults.concerns(function),
                client,
                labels=monitor.labels,
                areas=layout.monitor.start,
            )

        self._repeated = repeated

        def load() -> EntryState:
            client.write_memory(layout.device_tree.start, tree)
            return EntryState(
                pc=layout.entry,
                x0=layout.device_tree.start,
                pstate=PSTATE_EL1H | PSTATE_DAIF,
                system_registers={"SCTLR_EL1": SCTLR_EL1_RESET},
            )

        self._shell = GuestShell(hub, self._cell)
        self._watch = _ReadyWatch(plan, hub, self._become_ready)
        stack.callback(self._watch.stop)
        self._executor = Executor(
            client,
            source,
            vpsci,
            answer=repeated.call if repeated else faults.call,
            machine=machine,
            boot=load,
            listeners=(self._cell.apply, journal.apply, self._react, self._tell_debuggers),
            forget_answers=repeated.forget if repeated else lambda: None,
        )
        run_control = RunControl(client, self._executor, source)
        run_control.halts = plan.halt
        self._loop = TargetLoop(client, run_control, machine.last_words)
        view = View(client, run_control, source)
        bench = Bench(client, run_control, view, faults, journal.calls)
        target = Target(
            client, run_control, view, MonitorCommands(bench), self._loop.while_stopped, client.annexes
        )
        self._debuggers = stack.enter_context(
            GdbServer(target, self._loop.watch, folder.gdb_socket, plan.gdb_address)
        )
        service = Service(
            plan,
            folder,
            cell=self._cell,
            journal=journal,
            loop=self._loop,
            executor=self._executor,
            repeated=repeated,
            shell=self._shell,
            machine=machine,
            debuggers=self._debuggers,
        )
        stack.enter_context(
            ControlServer(folder.control_socket, folder.name, service.methods(), service.client_gone)
        )
        self._watch.start()
        self._executor.start()
        run_control.go_on()

    # -------------------------------------------------------------- what follows from events

    def _react(self, event: Event) -> None:
        match event:
            case Entered(cpu=0) if self._plan.ready is None:
                self._executor.tell(Ready())
            case WasReset():
                self._watch.start()
            case Stopped() if self._repeated is not None:
                self._repeated.forget()  # a debugger may want to see every call from here on
            case SwitchedOff() | Crashed():
                self._shell.abort()

    def _tell_debuggers(self, event: Event) -> None:
        self._debuggers.apply(event)

    def _on_death(self, report: str) -> None:
        """The guest's kernel has said that it dies; in the console's thread."""
        self._loop.submit(lambda: self._executor.tell(Crashed(report)))

    def _become_ready(self) -> None:
        self._loop.submit(lambda: self._executor.tell(Ready()))


class _ReadyWatch:
    """Waits for the sign on the console that a guest is up, once per boot, in a thread of its own."""

    def __init__(self, plan: BootPlan, hub: ConsoleHub, found: Callable[[], None]) -> None:
        self._pattern = None if plan.ready is None else re.compile(plan.ready.encode(), re.MULTILINE)
        self._hub = hub
        self._found = found
        self._cancel: Cancellation | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watches from here on; a watch that runs is ended."""
        self.stop()
        if self._pattern is not None:
            self._cancel = Cancellation()
            self._thread = threading.Thread(
                target=self._run,
                args=(self._pattern, self._hub.received, self._cancel),
                name="ready",
                daemon=True,
            )
            self._thread.start()

    def stop(self) -> None:
        """Ends a watch that runs."""
        if self._cancel is not None and self._thread is not None:
            self._cancel.set()
            self._thread.join()
            self._cancel.close()
            self._cancel = None

    def _run(self, pattern: re.Pattern[bytes], start: int, cancel: Cancellation) -> None:
        try:
            self._hub.wait_for(pattern, _NO_LIMIT_S, start=start, cancel=cancel)
        except (Cancelled, LinkError) as error:
            _log.info("the guest did not become ready: %s", error.message)
        else:
            self._found()


def _layout(plan: BootPlan, monitor: Monitor) -> Layout:
    board, guest = plan.board, plan.guest
    return plan_layout(
        board.ram,
        recognise(guest.kernel, load_address=guest.load_address, entry=guest.entry),
        monitor_size=monitor.areas_size(board.cpus) + (0 if board.rom else len(monitor.image)),
        initramfs=guest.initramfs,
        initrd_address=guest.initrd_address,
    )


def _profile(board: Board) -> Profile:
    """Whose vPSCI is imitated, as the board wants it."""
    profile = replace(get_profile(board.profile), poisons=board.poison)
    if board.mitigations:
        profile = profile.with_mitigations()
    if board.trusted_os is not TrustedOsKind.NONE:
        profile = with_trusted_os(profile, TrustedOs[board.trusted_os.name])
    return profile if board.psci_version is None else profile.with_version(board.psci_version)


def _device_tree(
    plan: BootPlan, profile: Profile, layout: Layout, client: Client
) -> tuple[bytes, MachineDescription, Conduit]:
    """The tree that the guest gets, what machine it tells of, and how that machine's own PSCI is called.

    The machine's own lies at the start of its memory; a user's takes its place.
    """
    given = plan.guest.device_tree
    if given is None:
        start = layout.device_tree.start
        size = flat_tree.used_size(client.read_memory(start, flat_tree.HEADER_SIZE))
        original = client.read_memory(start, min(size, layout.device_tree.size))
        path = "the device tree of the machine"
    else:
        try:
            original, path = given.read_bytes(), str(given)
        except OSError as error:
            raise FileError(f"cannot be read: {error.strerror}", path=given) from error
    patched = patch(
        original,
        conduit=plan.board.conduit,
        psci=_psci_properties(profile),
        monitor=layout.monitor,
        hidden=plan.board.rom,
        bootargs=plan.guest.command_line,
        initramfs=layout.initramfs,
        idle_states={
            state: state.power_state(profile.power_state_format) for state in plan.board.idle_states
        },
        path=path,
    )
    if len(patched) > layout.device_tree.size:
        raise FileError(f"takes {len(patched)} bytes, of {layout.device_tree.size} that there are", path=path)
    return patched, describe(patched, path), describe(original, path).conduit or Conduit.HVC


def _psci_properties(profile: Profile) -> Mapping[str, tuple[str, ...] | int]:
    """The PSCI node of a version (Linux, bindings/arm/psci.yaml); before 0.2 it has the function IDs, too."""
    if profile.psci_version >= V1_0:
        return {"compatible": ("arm,psci-1.0", "arm,psci-0.2")}
    if profile.psci_version >= V0_2:
        return {"compatible": ("arm,psci-0.2",)}
    ids = {function.name.lower(): number for number, function in profile.legacy_ids.items()}
    return {"compatible": ("arm,psci",), **ids}
