"""`make fuzz`: every target for a while, guided by the code that an input reaches (atheris), or at random where atheris can't be had.

    python -m tests.fuzz.run [--seconds 60] [--keep] [TARGET ...]

Each target runs in a process of its own, from the inputs in `corpus/` and those that the targets begin with. An input fails by any
exception that the target does not expect, by taking longer than `INPUT_S`, or by the memory of the process going past `RSS_MIB_MAX`; it is
then kept under `build/fuzz/`. With `--keep`, inputs that reached something new are added to the corpus: few, and small ones.
"""

import argparse
import contextlib
import hashlib
import logging
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FOUND: Final = ROOT / "build" / "fuzz"
CORPUS: Final = Path(__file__).parent / "corpus"
INPUT_S: Final = 5
"""One input, on a loaded machine; most take less than a millisecond."""
INPUT_BYTES_MAX: Final = 65_536
RSS_MIB_MAX: Final = 1024
"""Of a target's process; it begins with about 150."""
KEPT_MAX: Final = 24
"""Inputs of a target in the corpus."""
KEPT_BYTES_MAX: Final = 1024
"""One of them."""


def main() -> int:
    """Run targets; returns how many failed."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("targets", nargs="*", help="all, unless named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", action="store_true", help="add new inputs to the corpus")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        return _inside(given.targets[0], given.seconds)
    failed = []
    for name in given.targets or _names():
        began = time.monotonic()
        command = [sys.executable, "-m", "tests.fuzz.run", "--inside", "--seconds", str(given.seconds), name]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
        tail = [line for line in done.stderr.splitlines() if line.startswith(("stat::number_of", "stat::peak", "inputs:"))]
        told = ", ".join(" ".join(line.removeprefix("stat::").split()) for line in tail)
        print(f"{name}: {'FAILED' if done.returncode else 'nothing found'} in {time.monotonic() - began:.0f} s; {told}", flush=True)  # noqa: T201
        if done.returncode:
            failed.append(name)
            print("\n".join([*done.stdout.splitlines()[-30:], *done.stderr.splitlines()[-12:]]), flush=True)  # noqa: T201
        elif given.keep:
            _keep(name)
    return len(failed)


def _names() -> list[str]:
    from tests.fuzz.targets import TARGETS  # not before atheris, inside

    return list(TARGETS)


def _inside(name: str, seconds: int) -> int:
    """Run one target in this process."""
    work, artifacts = FOUND / name / "corpus", FOUND / name
    work.mkdir(parents=True, exist_ok=True)
    try:
        import atheris  # where it can be had
    except ImportError:
        return _at_random(name, seconds, artifacts)
    with atheris.instrument_imports(include=["runcast"]), _quiet():
        from tests.fuzz.targets import TARGETS, seeds  # what it imports is to be instrumented

        for seed in seeds()[name]:
            (work / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    kept = CORPUS / name
    kept.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-timeout={INPUT_S}",
        f"-rss_limit_mb={RSS_MIB_MAX}",
        f"-artifact_prefix={artifacts}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([name, *options, str(work), str(kept)], TARGETS[name])
    atheris.Fuzz()  # ends the process
    return 0


def _at_random(name: str, seconds: int, artifacts: Path) -> int:
    """Without atheris: seeds and corpus, changed by Hypothesis' own engine."""
    from hypothesis import HealthCheck, Phase, given, settings  # needed here alone
    from hypothesis import strategies as st

    from tests.fuzz.targets import TARGETS, seeds

    known = [*seeds()[name], *(path.read_bytes() for path in sorted((CORPUS / name).glob("*")))]
    until, count = time.monotonic() + seconds, 0

    def changed(seed: bytes, edits: list[tuple[int, bytes]]) -> bytes:
        for at, piece in edits:
            place = at % (len(seed) + 1)
            seed = seed[:place] + piece + seed[place + (at % 3) * len(piece) :]
        return seed

    edits = st.lists(st.tuples(st.integers(0, INPUT_BYTES_MAX), st.binary(max_size=8)), max_size=8)
    inputs = st.one_of(st.binary(max_size=256), st.builds(changed, st.sampled_from(known), edits))

    @settings(
        max_examples=2_000, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink]
    )
    @given(inputs)
    def check(data: bytes) -> None:
        nonlocal count
        count += 1
        (artifacts / "newest").write_bytes(data)
        TARGETS[name](data)

    while time.monotonic() < until:
        check()
    print(f"inputs: {count}, without atheris", file=sys.stderr)  # noqa: T201
    return 0


def _keep(name: str) -> None:
    """Add what is small, chosen at random among it, until the corpus of the target is full."""
    kept = CORPUS / name
    have = {path.name for path in kept.glob("*")}
    new = [path for path in sorted((FOUND / name / "corpus").glob("*")) if path.stat().st_size <= KEPT_BYTES_MAX and path.name not in have]
    random.Random(name).shuffle(new)
    for path in new[: max(0, KEPT_MAX - len(have))]:
        (kept / path.name).write_bytes(path.read_bytes())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what atheris tells of each module that it instruments."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


if __name__ == "__main__":
    sys.exit(main())
