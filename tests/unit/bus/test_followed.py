"""Files that a service follows: what can't be read is a problem, and no problem says what is in them."""

from pathlib import Path

import pytest

from runcast.bus.followed import Followed, changed


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"x = secret", "it is no TOML (at "),
        (b'x = "secret', "it is no TOML (at "),
        (b"secret = 1\nsecret = 1", "it is no TOML (at end of document)"),
        (b"x = " + b"9" * 5000, "it is no TOML"),
        (b"x = \xff", "it is no UTF-8 text"),
        (b"#" * 6001, "the file is larger than 5 KiB"),
    ],
)
def test_what_can_not_be_read_is_told_by_its_place(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "file").write_bytes(data)
    file = Followed(tmp_path / "file", 6000)
    assert file.document("the file") == {}
    (problem,) = file.problems
    assert problem.startswith(told)
    assert "secret" not in problem


def test_it_and_what_it_names_is_watched_from_before_it_was_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('key = "named"')
    file = Followed(tmp_path / "file", 6000)
    assert file.document("the file") == {"key": "named"}
    assert file.named("named", "key") == b""
    assert file.problems == ["key can't be read: No such file or directory"]
    assert not changed(file.watched)
    (tmp_path / "named").write_text("it is there now")
    assert changed(file.watched)
    assert file.named("named", "key") == b"it is there now"
    assert file.named("\0", "key") == b""
    assert file.problems[-1] == "key can't be read: no file has a name with a zero byte"
