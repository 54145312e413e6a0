"""Boards: what a guest runs on.

A board is one YAML file. ``schema`` says what all of them hold, ``*_schema`` what boards of one kind
hold besides, ``kinds`` finds the kinds that are installed, ``load`` finds and reads the files. How a
machine of a kind is started is told in a module that is called like the kind.
"""

from hil_agent.board.load import find_board, list_boards, load_board, read_board
from hil_agent.board.schema import Board, WakeSource

__all__ = ["Board", "WakeSource", "find_board", "list_boards", "load_board", "read_board"]
