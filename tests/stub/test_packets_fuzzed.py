"""A coverage-guided fuzzer at the packets that debuggers send, for a bounded time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SECONDS = 5
TOP = Path(__file__).parents[2]


def test_no_bytes_make_the_reading_of_packets_fail(tmp_path: Path) -> None:
    limits = (f"-max_total_time={SECONDS}", "-rss_limit_mb=1024", "-max_len=4096", "-timeout=5")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.packets", *limits, f"-artifact_prefix={tmp_path}/", str(tmp_path)],
        cwd=TOP,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done" in done.stderr
