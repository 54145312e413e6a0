"""The trap source and the EL1 monitor, on QEMU without EL2, with guests of a few instructions."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hil_agent.board import load_board
from hil_agent.guest.address import AddressRange
from hil_agent.guest.device_tree import Gic, GicVersion
from hil_agent.guest.kernel import Segment
from hil_agent.hvc_site import HvcSiteTrapSource
from hil_agent.psci import Call, Conduit, EntryState
from hil_agent.psci.poison import poison
from hil_agent.rsp import Client
from hil_agent.trap.kind import Setting
from hil_agent.trap.monitor import Monitor
from hil_agent.trap.source import Trap, TrapKind

GIC = Gic(GicVersion.V3, 0x0800_0000, (AddressRange(0x080A_0000, 0x00F6_0000),))
RESERVED = AddressRange(0x41FF_0000, 0x1_0000)
CODE = 0x4100_0000
TIMEOUT_S = 10
ALREADY_ON = -4
EL1H_MASKED = 0x3C5
SCTLR_RESET = 0xC50078
PSCI_VERSION, QEMUS_VERSION = 0x84000000, 0x10001
CPU_ON = 0xC4000003


@pytest.fixture(scope="module")
def monitor() -> Monitor:
    return Monitor.load("hil_agent.hvc_site")


@pytest.fixture
def client(monitor: Monitor) -> Iterator[Client]:
    """A machine with two vCPUs, stopped before its first instruction, which is the monitor's."""
    board = load_board("qemu-virt").with_overrides(cpus=2, memory="32M", trap="hvc-site")
    assert board.rom is not None
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="hvc-")))
        machine = stack.enter_context(board.open((), board.rom.start + monitor.labels["entry"], folder))
        stack.enter_context(machine.connect_console())
        client = stack.enter_context(Client(machine.connect_stub()))
        client.handshake()
        yield client


Start = Callable[..., HvcSiteTrapSource]


@pytest.fixture
def start(client: Client, monitor: Monitor) -> Start:
    """Puts instructions at `CODE`; vCPU 0 waits at the monitor's entry."""

    def start(*instructions: str) -> HvcSiteTrapSource:
        code = assembled(*instructions)
        rom = load_board("qemu-virt").rom
        assert rom is not None
        source = HvcSiteTrapSource(
            Setting(
                client,
                monitor,
                code=rom.start,
                reserved=RESERVED,
                gic=GIC,
                wake_by_interrupt=False,
                wake_by_timer=False,
                kernel=(Segment(CODE, code, len(code), len(code)),),
            )
        )
        source.arm()
        source.start()
        client.write_memory(CODE, code)
        assert next_trap(client, source).kind is TrapKind.ENTRY
        return source

    return start


def assembled(*lines: str) -> bytes:
    with TemporaryDirectory() as folder:
        output, binary = Path(folder, "o"), Path(folder, "b")
        source = "\n".join(lines) + "\n"
        subprocess.run(["aarch64-linux-gnu-as", "-o", output, "-"], input=source, text=True, check=True)
        subprocess.run(["aarch64-linux-gnu-objcopy", "-O", "binary", output, binary], check=True)
        return binary.read_bytes()


def entry(**registers: int) -> EntryState:
    """How the guest is entered: at `CODE`, with these general registers."""
    return EntryState(CODE, 7, EL1H_MASKED, {"SCTLR_EL1": SCTLR_RESET}, registers)


def identified(client: Client, source: HvcSiteTrapSource) -> Trap:
    trap = source.identify(client.wait_stop(TIMEOUT_S))
    assert trap is not None
    return trap


def next_trap(client: Client, source: HvcSiteTrapSource) -> Trap:
    """The trap that the machine comes to when it goes on."""
    client.resume()
    while (trap := identified(client, source)).kind is TrapKind.DEALT_WITH:
        client.resume()
    return trap


def call_of(client: Client, source: HvcSiteTrapSource, **registers: int) -> Trap:
    """The guest's first call after it was entered with these registers."""
    source.enter(0, entry(**registers))
    trap = next_trap(client, source)
    assert trap.kind is TrapKind.CALL
    return trap


@pytest.mark.parametrize(
    ("instruction", "conduit", "immediate"),
    [("hvc #0", Conduit.HVC, 0), ("smc #0", Conduit.SMC, 0), ("hvc #0xea1", Conduit.HVC, 0xEA1)],
)
def test_a_call_is_caught_before_it_is_made(
    client: Client, start: Start, instruction: str, conduit: Conduit, immediate: int
) -> None:
    trap = call_of(client, start(instruction, "b ."), x1=1, x2=2, x3=3)
    assert trap.call == Call(0, conduit, (7, 1, 2, 3), immediate)
    assert trap.registers["pc"] == CODE


def test_a_caller_goes_on_behind_its_call_with_the_answer(client: Client, start: Start) -> None:
    source = start("hvc #0", "mov x9, x0", "hvc #0")
    trap = call_of(client, source)
    client.write_registers(source.leave(trap, (42,)))
    again = next_trap(client, source)
    assert (again.registers["pc"], again.registers["x9"]) == (CODE + 8, 42)


def test_a_caller_that_was_in_the_monitor_is_put_back_as_it_was(client: Client, start: Start) -> None:
    source = start("mrs x9, sctlr_el1", "cmp x1, #1", "hvc #0", "mrs x10, sctlr_el1")
    trap = call_of(client, source, x1=1)
    before = client.read_all_registers()
    source.write_system_registers(0, {})
    elsewhere = client.read_registers()["pc"]
    source.restore(trap)
    after = client.read_all_registers()
    changed = {name for name in before if before[name] != after[name]}
    clocks = {name for name in changed if name.startswith(("CNT", "PMCC"))}
    assert (elsewhere == CODE + 8, changed - clocks) == (False, set())


def test_the_code_is_as_it_was_after_that(client: Client, start: Start) -> None:
    source = start("hvc #0", "b .")
    trap = call_of(client, source)
    before = client.read_memory(CODE, 8)
    source.write_system_registers(0, {})
    source.restore(trap)
    assert client.read_memory(CODE, 8) == before


def test_a_call_that_is_passed_on_is_answered_by_the_firmware_below(client: Client, start: Start) -> None:
    source = start("movz w0, #0x8400, lsl #16", "hvc #0", "b .")
    assert source.pass_on(call_of(client, source))[0] == QEMUS_VERSION


def test_an_smc_is_passed_on_to_a_firmware_that_is_called_by_hvc(client: Client, start: Start) -> None:
    source = start("movz w0, #0x8400, lsl #16", "smc #0", "b .")
    assert source.pass_on(call_of(client, source))[0] == QEMUS_VERSION


def test_a_delay_ends_in_a_trap(client: Client, start: Start) -> None:
    source = start("hvc #0", "b .")
    trap = call_of(client, source)
    client.write_registers(source.delay(trap, 1000))
    assert next_trap(client, source).kind is TrapKind.DONE


def test_a_vcpu_that_is_powered_on_comes_to_its_entry(client: Client, start: Start) -> None:
    source = start("hvc #0", "b .")
    trap = call_of(client, source)
    assert source.power_on(0, 1, 1) == 0
    source.restore(trap)
    client.write_registers(source.leave(trap, (0,)), None)
    arrived = next_trap(client, source)
    assert (arrived.kind, arrived.cpu) == (TrapKind.ENTRY, 1)


def test_a_vcpu_that_is_on_already_is_refused_by_the_firmware_below(client: Client, start: Start) -> None:
    source = start("hvc #0", "b .")
    call_of(client, source)
    source.power_on(0, 1, 1)
    assert source.power_on(0, 1, 1) == ALREADY_ON


def test_every_register_can_be_poisoned_at_an_entry(client: Client, start: Start) -> None:
    source = start("b .")
    poisoned = poison(entry())
    source.enter(0, poisoned)
    values = client.read_all_registers()
    wanted = {**poisoned.general_registers, **poisoned.vector_registers}
    assert {name: values[name] for name in wanted} == wanted
    assert (values["sp"], values["pc"]) == (poisoned.system_registers["SP_EL1"], CODE)


def test_system_registers_that_are_entered_with_are_there(client: Client, start: Start) -> None:
    source = start("mrs x1, vbar_el1", "mrs x2, sctlr_el1", "mrs x3, cpacr_el1", "hvc #0")
    system = {"SCTLR_EL1": SCTLR_RESET, "VBAR_EL1": 0x1800, "CPACR_EL1": 1 << 28, "FPSR": 0x9F}
    source.enter(0, EntryState(CODE, 0, EL1H_MASKED, system))
    trap = next_trap(client, source)
    assert [trap.registers[name] for name in ("x1", "x2", "x3")] == [0x1800, SCTLR_RESET, 1 << 28]


def test_a_refused_instruction_is_an_exception_at_the_guest(client: Client, start: Start) -> None:
    vectors = CODE + 0x800
    source = start("hvc #0", "b .", ".org 0x800 + 0x200", "mrs x1, esr_el1", "mrs x2, elr_el1", "hvc #1")
    source.enter(0, EntryState(CODE, 0, EL1H_MASKED, {"SCTLR_EL1": SCTLR_RESET, "VBAR_EL1": vectors}))
    source.inject_undefined(next_trap(client, source), 0x0200_0000)
    trap = next_trap(client, source)
    assert trap.registers["pc"] == vectors + 0x208
    assert (trap.registers["x1"], trap.registers["x2"]) == (0x0200_0000, CODE + 4)


def test_the_same_address_at_el0_is_no_call(client: Client, start: Start) -> None:
    lines = ("msr elr_el1, x1", "msr spsr_el1, xzr", "eret", "smc #2", "b .")
    source = start(*lines, ".org 0x800 + 0x400", "mrs x1, elr_el1", "hvc #1")
    system = {"SCTLR_EL1": SCTLR_RESET, "VBAR_EL1": CODE + 0x800}
    source.enter(0, EntryState(CODE, 0, EL1H_MASKED, system, {"x1": CODE + 12}))
    trap = next_trap(client, source)
    assert trap.registers["pc"] == CODE + 0xC04
    assert trap.registers["x1"] == CODE + 12  # where the smc at EL0 was undefined
