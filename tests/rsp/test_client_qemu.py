"""The client against QEMU's stub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hil_agent.errors import ProtocolError
from hil_agent.rsp import BreakpointKind, Client, Features, RefusedError, StopReason, ThreadId
from hil_agent.rsp.stop import SIGINT, SIGTRAP

PROGRAM = 0x40080000
DATA = PROGRAM + 0x1000
#     loop: add x1, x1, #1;  str x1, [x2];  nop;  b loop
CODE = b"".join(word.to_bytes(4, "little") for word in (0x91000421, 0xF9000041, 0xD503201F, 0x17FFFFFD))
FIRST, SECOND = ThreadId(1, 1), ThreadId(2, 1)

Starter = Callable[..., Path]
Connector = Callable[..., Client]


@pytest.fixture(params=[True, False], ids=["pipelined", "one by one"])
def client(request: pytest.FixtureRequest, start_qemu: Starter, connect: Connector) -> Client:
    """A client on two vCPUs, the first about to run `CODE`."""
    client = connect(start_qemu("-smp", "2"), pipelining=request.param)
    client.write_memory(PROGRAM, CODE, verify=True)
    client.write_registers({"pc": PROGRAM, "x1": 0, "x2": DATA}, verify=True)
    return client


def test_what_qemu_can_do_is_found_out(client: Client) -> None:
    assert client.features == Features(
        packet_size=4096,
        multiprocess=True,
        describes_registers=True,
        vcont=frozenset("cCsS"),
        single_registers=True,
        physical_memory=True,
    )


def test_vcpus_are_threads(client: Client) -> None:
    assert client.threads() == [FIRST, SECOND]


def test_system_registers_are_described_and_read(client: Client) -> None:
    assert client.description["ID_AA64MMFR0_EL1"].feature == "org.qemu.gdb.arm.sys.regs"
    assert client.read_register("ID_AA64MMFR0_EL1") == 0x1124  # what a Cortex-A57 has


def test_every_register_that_is_described_can_be_read(client: Client) -> None:
    assert all(client.read_register(name) >= 0 for name in client.description.registers)


def test_registers_belong_to_a_vcpu(client: Client) -> None:
    client.write_registers({"x1": 0x1234}, SECOND)
    assert (client.read_registers(FIRST)["x1"], client.read_registers(SECOND)["x1"]) == (0, 0x1234)


def test_a_write_that_qemu_ignores_is_found(client: Client) -> None:
    with pytest.raises(ProtocolError, match="ID_AA64MMFR0_EL1 holds 0x1124 after 0x0"):
        client.write_registers({"ID_AA64MMFR0_EL1": 0}, verify=True)


def test_memory_larger_than_a_packet_survives(client: Client) -> None:
    data = bytes(range(256)) * 100
    client.write_memory(DATA, data)
    assert client.read_memory(DATA, len(data)) == data


def test_physical_and_virtual_are_the_same_while_the_mmu_is_off(client: Client) -> None:
    client.write_memory(DATA, b"$#}*\x03+-", physical=True, verify=True)
    assert client.read_memory(DATA, 7) == b"$#}*\x03+-"


@pytest.mark.parametrize("kind", [BreakpointKind.SOFTWARE, BreakpointKind.HARDWARE])
def test_a_breakpoint_stops_the_vcpu(client: Client, kind: BreakpointKind) -> None:
    client.insert_breakpoint(kind, PROGRAM + 8)
    client.resume(FIRST)
    stop = client.wait_stop(10)
    assert (stop.code, stop.thread) == (SIGTRAP, FIRST)
    assert (client.read_registers()["pc"], client.read_registers()["x1"]) == (PROGRAM + 8, 1)


def test_a_removed_breakpoint_stops_nothing(client: Client) -> None:
    client.insert_breakpoint(BreakpointKind.HARDWARE, PROGRAM)
    client.remove_breakpoint(BreakpointKind.HARDWARE, PROGRAM)
    client.insert_breakpoint(BreakpointKind.HARDWARE, PROGRAM + 8)
    client.resume(FIRST)
    client.wait_stop(10)
    assert client.read_register("pc") == PROGRAM + 8


def test_a_watchpoint_tells_the_address(client: Client) -> None:
    client.insert_breakpoint(BreakpointKind.WRITE_WATCH, DATA, 8)
    client.resume(FIRST)
    stop = client.wait_stop(10)
    assert (stop.reason, stop.address) == (StopReason.WRITE_WATCHPOINT, DATA)


def test_a_step_executes_one_instruction(client: Client) -> None:
    client.resume(step=True)
    client.wait_stop(10)
    assert client.read_register("pc") == PROGRAM + 4


def test_a_step_leaves_the_other_vcpu_alone(client: Client) -> None:
    client.write_registers({"pc": PROGRAM, "x1": 7}, SECOND)
    client.resume(step=True)
    client.wait_stop(10)
    assert client.read_register("pc", SECOND) == PROGRAM


def test_writes_are_done_before_the_vcpu_goes(client: Client) -> None:
    client.insert_breakpoint(BreakpointKind.HARDWARE, PROGRAM + 8)
    for round_ in range(20):
        client.resume(FIRST, writes={"pc": PROGRAM, "x1": 100 * round_})
        client.wait_stop(10)
        assert client.read_registers()["x1"] == 100 * round_ + 1


def test_a_running_vcpu_can_be_interrupted(client: Client) -> None:
    client.resume(FIRST, writes={"x1": 0x1000})
    assert client.poll_stop() is None
    client.interrupt()
    assert client.wait_stop(10).code == SIGINT
    assert client.read_register("pc") in range(PROGRAM, PROGRAM + len(CODE))


def test_a_command_of_the_monitor_prints(client: Client) -> None:
    assert "CPU #1" in client.monitor("info cpus")


def test_a_breakpoint_that_is_not_set_cannot_be_removed(client: Client) -> None:
    with pytest.raises(RefusedError, match=r"removing a breakpoint \(hardware\) at 0x10"):
        client.remove_breakpoint(BreakpointKind.HARDWARE, 0x10)


def test_a_new_client_finds_a_machine_that_ran(start_qemu: Starter, connect: Connector) -> None:
    path = start_qemu()
    first = connect(path)
    first.write_memory(PROGRAM, CODE)
    first.write_registers({"pc": PROGRAM, "x2": DATA})
    first.detach()
    second = connect(path)
    assert second.read_register("pc") in range(PROGRAM, PROGRAM + len(CODE))
