"""How a fuzz target reads the bytes that it is given: as numbers and pieces, in an order of its own, until they are used up."""


class Reader:
    """Takes an input apart. Past its end everything is 0 or empty, so that every input means something."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return max(0, len(self._data) - self._at)

    def byte(self) -> int:
        """0 to 255."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def number(self, below: int) -> int:
        """0 to `below` - 1; `below` is at most 65,536."""
        return ((self.byte() << 8) | self.byte()) % below

    def piece(self) -> bytes:
        """Two bytes of length, and so many more."""
        size = (self.byte() << 8) | self.byte()
        piece = self._data[self._at : self._at + size]
        self._at += size
        return piece

    def rest(self) -> bytes:
        """All that is left."""
        piece, self._at = self._data[self._at :], len(self._data)
        return piece


def piece(data: bytes) -> bytes:
    """What `Reader.piece` reads as `data`, for seeds."""
    return len(data).to_bytes(2, "big") + data
