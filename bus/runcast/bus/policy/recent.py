"""What was used lately, by key, and no more of it than a bound. Pure.

Theory. An exact order of use costs a move at every use. Two generations cost none: what is used is looked for among the young, and then
among the old, from where it moves to the young; when the young are half of the bound, they become the old, and the old are forgotten.

Invariants: at most `most` are kept; what is used again before `most / 2` others were is never forgotten.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values by key, made when they are first asked for.

    Args:
        make: a new value.
        most: how many are kept, 2 or more.
    """

    def __init__(self, make: Callable[[], V], most: int) -> None:
        self._make = make
        self._half = most // 2
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V:
        """The value of `key`: the one that is kept, or a new one."""
        found = self._young.get(key)
        if found is not None:
            return found
        found = self._old.pop(key, None)
        if found is None:
            found = self._make()
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = found
        return found
