"""The figures of all processes for the last minutes. Pure."""

from runcast.admin.board.board import Board as Board
