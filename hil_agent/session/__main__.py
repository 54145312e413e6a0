"""The process of a session: ``python -m hil_agent.session FOLDER OWNER``, started by ``launch``.

``OWNER`` is the file descriptor of a socket to whoever boots it. On it goes one line, that the session
runs or why not; if it ends before ``RELEASE`` came, so does the session.
"""

from __future__ import annotations

import gc
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
from hil_agent.session.protocol import Json, encode, encode_error

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
                _tell(owner, {"started": True})
                threading.Thread(target=_mind_owner, args=(owner, session), daemon=True).start()
                gc.freeze()  # else each full collection looks at all modules, while a guest may wait
                session.run()
        except HilAgentError as error:
            _log.error("%s", error)
            return _failed(folder, owner, error)
        except Exception as error:
            _log.exception("the session failed")
            bug = InternalError(f"{type(error).__name__}: {error}", hint="please report it")
            return _failed(folder, owner, bug)
    folder.remove()
    return 0


def _failed(folder: SessionFolder, owner: socket.socket, error: HilAgentError) -> int:
    """Leaves the folder to whoever boots the session, to read in; removes it if nobody does any more."""
    if not _tell(owner, {"error": encode_error(error)}):
        folder.remove()
    return error.exit_status


def _mind_owner(owner: socket.socket, session: LiveSession) -> None:
    """Ends the session when its owner goes without having released it."""
    try:
        said = owner.recv(len(RELEASE), socket.MSG_WAITALL)
    except OSError:
        said = b""
    if said != RELEASE:
        _log.info("whoever booted this session is gone before it was up")
        session.end()


def _tell(owner: socket.socket, message: dict[str, Json]) -> bool:
    """Tells whoever boots the session; False if there is nobody any more."""
    try:
        owner.sendall(encode(message))
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
