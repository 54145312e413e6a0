"""What the probe has the hardware do: the timer and its interrupt, the MMU. QEMU's virt machine only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hil_agent.conformance.lab import Lab
from hil_agent.conformance.probe import Probe

_TIMER_PPI = 27
_TIMER = 1 << _TIMER_PPI

_GICD, _GICC, _GICR = 0x0800_0000, 0x0801_0000, 0x080A_0000
_GICR_SIZE, _SGI_FRAME = 0x2_0000, 0x1_0000
_GICD_CTLR, _GICC_CTLR, _GICC_PMR, _GICR_WAKER = 0x0, 0x0, 0x4, 0x14
_IGROUPR0, _ISENABLER0, _ISPENDR0 = 0x80, 0x100, 0x200
_ARE_GROUP1 = 0x12
_ANY_PRIORITY = 0xFF

_ENABLE = 1

_BLOCK_DEVICE = 0x0000_0401
"""Translation table entry of a 1 GiB block: attribute 0, access flag."""

_BLOCK_MEMORY = 0x4000_0705
"""The same for the RAM, from 1 GiB on: attribute 1, inner shareable, access flag."""

_MAIR = 0xFF00
"""Attribute 0: Device-nGnRnE; 1: Normal, write-back."""

_TCR = 32 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2 << 32
"""32-bit addresses through TTBR0_EL1 alone, cacheable table walks, 40-bit physical addresses."""

MMU_AND_CACHES = 1 << 0 | 1 << 2 | 1 << 12
"""SCTLR_EL1.M, C and I."""


def no_timer(lab: Lab) -> str | None:
    """Why the timer's interrupt cannot be had on this machine."""
    return None if lab.gic_version else "the machine's interrupt controller is not known"


@contextmanager
def timer(lab: Lab, seconds: float, cpu: int = 0) -> Iterator[None]:
    """The virtual timer of a vCPU goes off after so many seconds, which may be 0; it is stopped in the end.

    Its interrupt is enabled, but masked in PSTATE.
    """
    probe = lab.probe
    enable = {2: _enable_gicv2, 3: _enable_gicv3}[lab.gic_version or 0]
    enable(probe, cpu)
    ticks = int(seconds * probe.ticks_per_s)
    probe.write_system_register("CNTV_TVAL_EL0", ticks, cpu)
    probe.write_system_register("CNTV_CTL_EL0", _ENABLE, cpu)
    yield
    probe.write_system_register("CNTV_CTL_EL0", 0, cpu)


def timer_is_pending(lab: Lab, cpu: int = 0) -> bool:
    """Whether the GIC holds the timer's interrupt pending."""
    frame = _GICD if lab.gic_version == 2 else _redistributor(cpu) + _SGI_FRAME  # noqa: PLR2004
    return bool(lab.probe.read_memory(frame + _ISPENDR0, 32, cpu) & _TIMER)


def enable_mmu(probe: Probe) -> None:
    """Switches MMU and caches of the vCPU on that has the console; every address is mapped to itself."""
    probe.write_memory(probe.table, _BLOCK_DEVICE)
    probe.write_memory(probe.table + 8, _BLOCK_MEMORY)
    probe.write_system_register("MAIR_EL1", _MAIR)
    probe.write_system_register("TCR_EL1", _TCR)
    probe.write_system_register("TTBR0_EL1", probe.table)
    sctlr = probe.read_system_register("SCTLR_EL1")
    probe.write_system_register("SCTLR_EL1", sctlr | MMU_AND_CACHES)


def _enable_gicv2(probe: Probe, cpu: int) -> None:
    probe.write_memory(_GICD + _ISENABLER0, _TIMER, 32, cpu)
    probe.write_memory(_GICD + _GICD_CTLR, _ENABLE, 32, cpu)
    probe.write_memory(_GICC + _GICC_PMR, _ANY_PRIORITY, 32, cpu)
    probe.write_memory(_GICC + _GICC_CTLR, _ENABLE, 32, cpu)


def _enable_gicv3(probe: Probe, cpu: int) -> None:
    redistributor = _redistributor(cpu)
    probe.write_memory(_GICD + _GICD_CTLR, _ARE_GROUP1, 32, cpu)
    probe.write_memory(redistributor + _GICR_WAKER, 0, 32, cpu)
    probe.write_memory(redistributor + _SGI_FRAME + _IGROUPR0, _TIMER, 32, cpu)
    probe.write_memory(redistributor + _SGI_FRAME + _ISENABLER0, _TIMER, 32, cpu)
    probe.write_system_register("ICC_SRE_EL1", _ENABLE, cpu)
    probe.write_system_register("ICC_PMR_EL1", _ANY_PRIORITY, cpu)
    probe.write_system_register("ICC_IGRPEN1_EL1", _ENABLE, cpu)


def _redistributor(cpu: int) -> int:
    return _GICR + _GICR_SIZE * cpu
