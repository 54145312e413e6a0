from __future__ import annotations

import subprocess
from pathlib import Path

from hil_agent.conformance.instructions import (
    LOAD32,
    LOAD64,
    STORE32,
    STORE64,
    conduit_call,
    read_register,
    write_register,
)
from hil_agent.psci import Conduit


def assembled(source: str, folder: Path) -> list[int]:
    """What the GNU assembler makes of it."""
    subprocess.run(
        ["aarch64-linux-gnu-as", "-march=armv8-a", "-o", folder / "a.o", "-"],
        input=source,
        text=True,
        check=True,
    )
    subprocess.run(
        ["aarch64-linux-gnu-objcopy", "-O", "binary", folder / "a.o", folder / "a.bin"], check=True
    )
    code = (folder / "a.bin").read_bytes()
    return [int.from_bytes(code[at : at + 4], "little") for at in range(0, len(code), 4)]


def test_instructions_are_those_of_the_assembler(tmp_path: Path) -> None:
    instructions = {
        "ldr w0, [x1]": LOAD32,
        "ldr x0, [x1]": LOAD64,
        "str w0, [x1]": STORE32,
        "str x0, [x1]": STORE64,
        "hvc #0": conduit_call(Conduit.HVC, 0),
        "hvc #0x1234": conduit_call(Conduit.HVC, 0x1234),
        "smc #0xffff": conduit_call(Conduit.SMC, 0xFFFF),
        "mrs x0, mpidr_el1": read_register("MPIDR_EL1"),
        "mrs x0, cntvct_el0": read_register("CNTVCT_EL0"),
        "mrs x0, cntfrq_el0": read_register("CNTFRQ_EL0"),
        "msr cntv_tval_el0, x0": write_register("CNTV_TVAL_EL0"),
        "msr S3_0_C4_C6_0, x0": write_register("ICC_PMR_EL1"),
        "msr S3_0_C12_C12_5, x0": write_register("ICC_SRE_EL1"),
        "msr S3_0_C12_C12_7, x0": write_register("ICC_IGRPEN1_EL1"),
        "msr sctlr_el1, x0": write_register("SCTLR_EL1"),
    }
    assert list(instructions.values()) == assembled("\n".join([*instructions, ""]), tmp_path)
