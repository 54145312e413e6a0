"""Real stubs to speak to: QEMU for AArch64, gdbserver for this host's own architecture."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hil_agent.rsp import Client

QemuStarter = Callable[..., Path]


@pytest.fixture
def start_qemu() -> Iterator[QemuStarter]:
    """Starts QEMU, stopped at reset, and gives the path of its stub's socket."""
    with ExitStack() as stack:

        def start(*arguments: str) -> Path:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="rsp-")))
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(folder / "gdb"))
            listener.listen()
            log = stack.enter_context((folder / "log").open("wb"))
            qemu = subprocess.Popen(
                [
                    "qemu-system-aarch64",
                    *("-machine", "virt", "-cpu", "cortex-a57", "-S", "-nodefaults", "-display", "none"),
                    *("-chardev", f"socket,id=stub,fd={listener.fileno()},server=on,wait=off"),
                    *("-gdb", "chardev:stub"),
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
            )
            stack.callback(qemu.wait)
            stack.callback(qemu.kill)
            return folder / "gdb"

        yield start


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Connects a client, past its handshake, to a stub's unix socket."""
    with ExitStack() as stack:

        def open_client(path: Path, *, pipelining: bool = True) -> Client:
            connection = socket.socket(socket.AF_UNIX)
            client = stack.enter_context(Client(connection, timeout_s=10, pipelining=pipelining))
            connection.connect(str(path))
            client.handshake()
            return client

        yield open_client


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
