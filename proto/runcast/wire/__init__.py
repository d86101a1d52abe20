"""What all rooms must agree on: names, positions, frames, codes, limits and the life of a run.

Everything here is pure: no I/O, no clock, no randomness. `runcast.wire.frames` and `runcast.wire.eventjson` need msgspec (the
`server` extra); the rest needs protobuf alone.
"""

VERSION = "0.1.0"
"""Version of Runcast; the same as in pyproject.toml (a test compares them)."""
