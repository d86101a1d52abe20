"""What is built and locked: a small wheel for agents, typed rooms in one namespace, pins without places."""

import email
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from runcast.wire import VERSION

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["dev-mode-dirs"]
ROOMS = sorted(path for folder in FOLDERS for path in (ROOT / folder / "runcast").iterdir() if path.is_dir() and path.name != "__pycache__")
LOCKS = ["requirements.lock", "deploy/requirements.lock", "deploy/build.lock"]


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", (ROOT / lock).read_text(), re.MULTILINE))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory], cwd=ROOT, check=True, capture_output=True)
    (built,) = directory.iterdir()
    return zipfile.ZipFile(built)


def test_the_version_is_the_same_everywhere():
    assert PROJECT["project"]["version"] == VERSION
    assert f"## [{VERSION}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_plain_wheel_needs_grpcio_and_protobuf_alone(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    needs = [Requirement(line) for line in email.message_from_bytes(wheel.read(name)).get_all("Requires-Dist")]
    assert {need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})} == {"grpcio", "protobuf"}


def test_the_wheel_has_every_room_typed_and_nothing_else(wheel):
    names = set(wheel.namelist())
    assert {f"runcast/{room.name}/py.typed" for room in ROOMS} <= names
    assert "runcast/__init__.py" not in names
    assert {name.split("/")[0] for name in names} == {"runcast", f"runcast-{VERSION}.dist-info"}


def test_the_namespace_is_open():
    assert {room.name for room in ROOMS} >= {"v1", "wire", "bus", "router", "edge", "client", "testkit", "cli"}
    for folder in FOLDERS:
        assert not (ROOT / folder / "runcast/__init__.py").exists(), f"{folder}/runcast/__init__.py would hide the other folders' rooms"
        assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_pin_by_hash_and_name_no_place(lock):
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(--(index|extra-index|find-links|trusted)|-[if] )", text, re.MULTILINE)
    assert not re.search(r" @ ", text)
    for requirement in re.split(r"\n(?=\S)", text):
        assert requirement.startswith("#") or "--hash=sha256:" in requirement, f"{requirement.splitlines()[0]} has no hash"


def test_images_get_the_versions_that_are_tested():
    tested = pins("requirements.lock")
    for lock in LOCKS[1:]:
        assert pins(lock).items() <= tested.items()


def test_images_get_all_that_the_server_extra_names():
    named = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["server"]]
    assert {Requirement(text).name for text in named} <= pins("deploy/requirements.lock").keys()


def test_the_program_of_the_plain_wheel_says_what_it_needs(wheel, tmp_path):
    wheel.extractall(tmp_path)
    # -S: none of the packages that are installed here, as where the wheel was installed without extras
    start = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from runcast.cli.command import main; main()"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", start], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'runcast[server,local]'" in done.stderr
    assert PROJECT["project"]["scripts"] == {"runcast": "runcast.cli.command:main"}
