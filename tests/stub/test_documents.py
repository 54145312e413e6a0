"""What debuggers read about the target."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree as ET

from hil_agent.stub.documents import MEMORY_MAP


def test_the_memory_map_is_all_but_the_top_in_regions_that_gdb_survives() -> None:
    regions = [
        (int(region.attrib["start"], 16), int(region.attrib["length"], 16))
        for region in ET.fromstring(MEMORY_MAP.decode())  # noqa: S314 - our own
    ]
    assert regions[0][0] == 0
    assert sum(regions[-1]) == (1 << 64) - (2 << 20)
    assert all(start + length == after for (start, length), (after, _) in pairwise(regions))
    assert all(length < 1 << 63 for _, length in regions)
