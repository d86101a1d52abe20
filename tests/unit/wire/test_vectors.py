"""The transcripts that every client agrees on, replayed here by the reference and by the testkit's device."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runcast.testkit.device_session import Broken, Deliver, DeviceSession, Opened
from runcast.wire.frames import CODECS, JSON_SUBPROTOCOL, Batch, ServerFrame, Welcome
from runcast.wire.runstate import Runs, reduce_frames

VECTORS = Path(__file__).parents[2] / "vectors"
PATHS = sorted(VECTORS.glob("*.json"))
transcripts = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def read(path: Path) -> tuple[list[ServerFrame], list[dict[str, Any]]]:
    transcript = json.loads(path.read_text(encoding="utf-8"))
    return [CODECS[JSON_SUBPROTOCOL].decode_server(msgspec.json.encode(frame)) for frame in transcript["frames"]], transcript["timeline"]


def state(runs: Runs) -> Any:
    return json.loads(msgspec.json.encode(runs.state()))


@transcripts
def test_a_device_ends_with_what_is_written(path: Path) -> None:
    frames, timeline = read(path)
    session, runs = DeviceSession("tab-1", "earliest", snapshot=None), Runs()
    for frame in frames:
        if isinstance(frame, Welcome):
            session.lost()
            session.connected(0.0)
        session.receive_frame(frame, 0.0)
        for effect in session.take_effects():
            assert not isinstance(effect, Broken), effect
            if isinstance(effect, Opened):
                runs.receive(effect.welcome)
            elif isinstance(effect, Deliver):
                runs.receive(Batch("", "", list(effect.events)))
    assert state(runs) == timeline
    assert session.caught_up
    assert state(reduce_frames(frames)) == timeline, "repeats of frames do not matter to the reducer either"


@transcripts
def test_events_keep_their_form_in_the_other_subprotocol(path: Path) -> None:
    frames, _ = read(path)
    for codec in CODECS.values():
        assert [codec.decode_server(codec.encode(frame)) for frame in frames] == frames


def test_the_files_are_what_the_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("generate_vectors", VECTORS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert {path.name: path.read_text(encoding="utf-8") for path in PATHS} == {
        f"{make.__name__}.json": generate.transcript(make) for make in generate.TRANSCRIPTS
    }
