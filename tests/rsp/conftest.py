"""A real stub to speak to: gdbserver, for this host's own architecture. QEMU's is in what all tests share."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest

from hil_agent.rsp import Client


@pytest.fixture
def gdbserver() -> Iterator[Client]:
    """A client on a gdbserver that holds a process of this host at its first instruction."""
    server = subprocess.Popen(
        ["gdbserver", "--once", "127.0.0.1:0", "/bin/sleep", "60"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        port = next(int(line.split()[-1]) for line in server.stderr if line.startswith("Listening on port"))
        with Client(socket.create_connection(("127.0.0.1", port)), timeout_s=10) as client:
            client.handshake()
            yield client
    finally:
        server.kill()
        server.communicate()
