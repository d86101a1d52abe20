"""The judge of isolation: every user has a mark that only what is theirs carries; whoever holds another's was given it. Pure."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from runcast.wire.ids import UserKey

_MARK = re.compile(rb"mark-[0-9a-f]{24}")


class Crossing(NamedTuple):
    """Somebody holds what is not theirs."""

    holder: UserKey
    where: str
    owner: UserKey | None


class Marks:
    """The marks of all users.

    Args:
        of: mark by user, `mark-` and 24 of 0-9 and a-f.
    """

    def __init__(self, of: dict[UserKey, str]) -> None:
        self.of = of
        self._owners = {mark.encode(): user for user, mark in of.items()}

    def found(self, data: bytes) -> list[UserKey | None]:
        """Whose marks are in it; None for one that was never given."""
        return [self._owners.get(mark) for mark in dict.fromkeys(_MARK.findall(data))]

    def crossings(self, held: Iterable[tuple[UserKey, str, bytes]]) -> list[Crossing]:
        """What is held by somebody whose it is not.

        Args:
            held: who, where, and the bytes as they were found there.
        """
        return [Crossing(holder, where, owner) for holder, where, data in held for owner in self.found(data) if owner != holder]
