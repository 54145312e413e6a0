"""The trap source and the monitor, on QEMU, without a guest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hil_agent.board import load_board
from hil_agent.el2 import El2TrapSource
from hil_agent.errors import TargetError
from hil_agent.guest.address import AddressRange
from hil_agent.guest.device_tree import Gic, GicVersion
from hil_agent.psci.entry import EntryState
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
UDF = bytes(4)
LOAD_X0 = bytes.fromhex("000040f9")  # ldr x0, [x0]
LOOP = bytes.fromhex("00000014")  # b .
NOBODYS = 0x7FFF_0000


@pytest.fixture
def client() -> Iterator[Client]:
    """A machine with two vCPUs, stopped before its first instruction, which is the monitor's."""
    board = load_board("qemu-virt").with_overrides(cpus=2, memory="32M")
    assert board.rom is not None
    entry = board.rom.start + Monitor.load().labels["entry"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="el2-")))
        machine = stack.enter_context(board.open((), entry, folder))
        stack.enter_context(machine.connect_console())
        client = stack.enter_context(Client(machine.connect_stub()))
        client.handshake()
        yield client


@pytest.fixture
def source(client: Client) -> El2TrapSource:
    rom = load_board("qemu-virt").rom
    assert rom is not None
    source = El2TrapSource(
        Setting(
            client,
            Monitor.load(),
            code=rom.start,
            reserved=RESERVED,
            gic=GIC,
            wake_by_interrupt=False,
            wake_by_timer=False,
        )
    )
    source.arm()
    source.start()
    return source


def next_trap(client: Client, source: El2TrapSource) -> Trap:
    """The trap that the machine comes to when it goes on."""
    client.resume()
    trap = source.identify(client.wait_stop(TIMEOUT_S))
    assert trap is not None
    return trap


@pytest.fixture
def entered(client: Client, source: El2TrapSource) -> El2TrapSource:
    """vCPU 0 waits at the monitor's entry."""
    next_trap(client, source)
    return source


def test_the_first_trap_is_the_entry_of_vcpu_0(client: Client, source: El2TrapSource) -> None:
    trap = next_trap(client, source)
    assert (trap.kind, trap.cpu) == (TrapKind.ENTRY, 0)


def test_a_stop_that_is_no_trap_is_none_of_ours(client: Client, entered: El2TrapSource) -> None:
    client.write_memory(CODE, LOOP)
    client.write_registers({"pc": CODE})
    client.resume()
    client.interrupt()
    assert entered.identify(client.wait_stop(TIMEOUT_S)) is None


def test_system_registers_that_are_written_are_read_back(entered: El2TrapSource) -> None:
    values = {"TPIDR_EL1": 0x1122334455667788, "VBAR_EL1": 0x800, "SP_EL1": 2**64 - 16}
    entered.write_system_registers(0, values)
    assert entered.read_system_registers(0, tuple(values)) == values


def test_a_vcpu_is_seen_at_its_entry_point(client: Client, entered: El2TrapSource) -> None:
    entered.enter(0, EntryState(CODE, 0x1234, EL1H_MASKED, {"SCTLR_EL1": 0xC50078}))
    registers = client.read_registers()
    assert (registers["pc"], registers["x0"], registers["cpsr"] & 0x3DF) == (CODE, 0x1234, EL1H_MASKED)


def test_a_vcpu_that_does_not_arrive_is_noticed(entered: El2TrapSource) -> None:
    with pytest.raises(TargetError, match="was sent to"):
        entered.enter(0, EntryState(CODE, 0, 0x1F, {}))  # AArch32 System mode: an illegal return


def test_an_undefined_instruction_at_el2_is_told_with_its_syndrome(
    client: Client, entered: El2TrapSource
) -> None:
    client.write_memory(CODE, UDF)
    with pytest.raises(TargetError, match=rf"undefined instruction.*ESR 0x2000000, ELR {CODE:#x}, FAR 0x\w+"):
        entered.run(0, {"pc": CODE})


def test_an_abort_at_el2_is_told_with_its_address(client: Client, entered: El2TrapSource) -> None:
    client.write_memory(CODE, LOAD_X0)
    with pytest.raises(TargetError, match=r"data abort at EL2.*FAR 0x7fff0000,"):
        entered.run(0, {"pc": CODE, "x0": NOBODYS})


def test_a_vcpu_that_is_powered_on_comes_to_its_entry(client: Client, entered: El2TrapSource) -> None:
    assert entered.power_on(0, 1, 1) == 0
    entered.enter(0, EntryState(CODE, 0, EL1H_MASKED, {}))
    client.write_memory(CODE, LOOP)
    trap = next_trap(client, entered)
    assert (trap.kind, trap.cpu) == (TrapKind.ENTRY, 1)


def test_a_vcpu_that_is_on_already_is_refused_by_the_firmware_below(entered: El2TrapSource) -> None:
    entered.power_on(0, 1, 1)
    assert entered.power_on(0, 1, 1) == ALREADY_ON
