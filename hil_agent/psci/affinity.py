"""Affinity levels: which fields of an MPIDR name a vCPU, a cluster and what is above."""

from __future__ import annotations

LEVELS = range(4)
"""0 is a vCPU; each level above is a group of instances of the one below."""

AFFINITY_BITS = 0xFF_00FF_FFFF
"""Aff3 in bits [39:32] and Aff2, Aff1, Aff0 in [23:0], as MPIDR_EL1 has them."""

_MASKS = (AFFINITY_BITS, 0xFF_00FF_FF00, 0xFF_00FF_0000, 0xFF_0000_0000)


def instance(mpidr: int, level: int) -> int:
    """The affinity instance of ``level`` that ``mpidr`` is in: its fields at that level and above."""
    return mpidr & _MASKS[level]
