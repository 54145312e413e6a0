"""The process of a session: ``python -m hil_agent.session FOLDER OWNER``, started by ``launch``.

``OWNER`` is the file descriptor of a socket to whoever boots it. On it goes one line, that the session
runs or why not; if it ends before ``RELEASE`` came, so does the session.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from pathlib import Path

from hil_agent.errors import HilAgentError, InternalError
from hil_agent.session.folder import SessionFolder
from hil_agent.session.launch import RELEASE
from hil_agent.session.live import LiveSession
from hil_agent.session.plan import BootPlan
from hil_agent.session.protocol import encode, encode_error

_log = logging.getLogger("hil_agent.session")


def main() -> int:
    """Runs one session to its end, and removes its folder."""
    folder = SessionFolder(Path(sys.argv[1]))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    with socket.socket(fileno=int(sys.argv[2])) as owner:
        try:
            folder.claim()
            plan = BootPlan.model_validate_json(folder.plan.read_bytes())
            with LiveSession(plan, folder) as session:
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(number, lambda *_: session.end())
                owner.sendall(encode({"started": True}))
                threading.Thread(target=_mind_owner, args=(owner, session), daemon=True).start()
                session.run()
        except HilAgentError as error:
            _log.error("%s", error)
            _tell(owner, error)
            return error.exit_status
        except Exception as error:
            _log.exception("the session failed")
            _tell(
                owner,
                InternalError(
                    f"{type(error).__name__}: {error}", hint="please report it, with what is said above"
                ),
            )
            return 1
    folder.remove()
    return 0


def _mind_owner(owner: socket.socket, session: LiveSession) -> None:
    """Ends the session when its owner goes without having released it."""
    try:
        said = owner.recv(len(RELEASE), socket.MSG_WAITALL)
    except OSError:
        said = b""
    if said != RELEASE:
        _log.info("whoever booted this session is gone before it was up")
        session.end()


def _tell(owner: socket.socket, error: HilAgentError) -> None:
    try:
        owner.sendall(encode({"error": encode_error(error)}))
    except OSError:
        _log.info("nobody is left to be told")


if __name__ == "__main__":
    sys.exit(main())
