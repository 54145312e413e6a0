"""The client against gdbserver, which does much differently from QEMU."""

from __future__ import annotations

import platform

import pytest

from hil_agent.rsp import BreakpointKind, Client, RefusedError, UnsupportedError
from hil_agent.rsp.stop import SIGTRAP

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="plants x86-64 instructions")


def test_what_gdbserver_can_do_is_found_out(gdbserver: Client) -> None:
    features = gdbserver.features
    assert (features.no_ack, features.multiprocess, features.binary_write) == (True, True, True)
    assert (features.single_registers, features.physical_memory) == (False, False)


def test_its_process_has_one_thread(gdbserver: Client) -> None:
    assert gdbserver.threads() == [gdbserver.thread]


def test_run_length_encoded_registers_are_read(gdbserver: Client) -> None:
    stop = gdbserver.stop
    assert stop is not None
    expedited = dict(stop.registers)
    stack = gdbserver.description["rsp"]
    assert gdbserver.read_registers()["rsp"] == int.from_bytes(expedited[stack.number], "little")


def test_registers_are_written(gdbserver: Client) -> None:
    gdbserver.write_registers({"rbx": 0x123456789ABCDEF0, "r12": 1}, verify=True)


def test_registers_are_read_again_after_they_were_written(gdbserver: Client) -> None:
    before = gdbserver.read_registers()["rbx"]
    gdbserver.write_registers({"rbx": before + 1})
    assert gdbserver.read_registers()["rbx"] == before + 1


def test_binary_memory_survives(gdbserver: Client) -> None:
    data = bytes(range(256)) * 16
    gdbserver.write_memory(gdbserver.read_register("rsp") - len(data), data, verify=True)


def test_memory_that_is_not_mapped_is_an_error(gdbserver: Client) -> None:
    with pytest.raises(RefusedError, match="reading 16 bytes at 0x0"):
        gdbserver.read_memory(0, 16)


def test_a_step_with_writes_executes_one_instruction(gdbserver: Client) -> None:
    increment_rbx = b"\x48\xff\xc3"
    pc = gdbserver.read_register("rip")
    gdbserver.write_memory(pc, increment_rbx, verify=True)
    gdbserver.resume(step=True, writes={"rbx": 41})
    assert gdbserver.wait_stop(10).code == SIGTRAP
    registers = gdbserver.read_registers()
    assert (registers["rip"], registers["rbx"]) == (pc + 3, 42)


def test_a_breakpoint_stops_the_process(gdbserver: Client) -> None:
    pc = gdbserver.read_register("rip")
    gdbserver.write_memory(pc, b"\x90\x90\x90\x90")
    gdbserver.insert_breakpoint(BreakpointKind.SOFTWARE, pc + 2, 1)
    gdbserver.resume()
    gdbserver.wait_stop(10)
    assert gdbserver.read_register("rip") == pc + 2


def test_a_running_process_can_be_interrupted(gdbserver: Client) -> None:
    jump_to_itself = b"\xeb\xfe"
    gdbserver.write_memory(gdbserver.read_register("rip"), jump_to_itself)
    gdbserver.resume()
    gdbserver.interrupt()
    gdbserver.wait_stop(10)
    assert not gdbserver.running


def test_its_monitor_prints(gdbserver: Client) -> None:
    assert "monitor commands" in gdbserver.monitor("help")


def test_an_unknown_monitor_command_is_refused(gdbserver: Client) -> None:
    with pytest.raises((RefusedError, UnsupportedError), match="monitor command 'nonsense'"):
        gdbserver.monitor("nonsense")
