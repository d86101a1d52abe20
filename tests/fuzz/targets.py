"""All fuzz targets: everything that reads what comes from outside."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.fuzz import agents, devices, films, http, identity, sealing

Target = Callable[[bytes], None]
"""Takes an input. Whatever it raises is a find."""

CORPUS: Final = Path(__file__).parent / "corpus"
TARGETS: Final[dict[str, Target]] = {
    "frames_json": devices.frames_json,
    "frames_proto": devices.frames_proto,
    "positions": devices.positions,
    "stored": devices.stored,
    "publish": agents.publish,
    "inbox": agents.inbox,
    "token": identity.token,
    "key": identity.key,
    "authfile": identity.authfile,
    "policy": identity.policy,
    "keysfile": sealing.keysfile,
    "sealed": sealing.sealed,
    "http": http.http,
    "export": films.export,
}


def seeds() -> dict[str, list[bytes]]:
    """Inputs to begin with, by target."""
    return devices.seeds() | agents.seeds() | identity.seeds() | sealing.seeds() | http.seeds() | films.seeds()
