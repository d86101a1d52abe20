import pytest

from runcast.cli.addresses import development_token, http_url, websocket_url
from runcast.cli.failures import CommandError
from runcast.wire.errors import IdInvalidError


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("127.0.0.1:7480", "ws://127.0.0.1:7480/v1/ws"),
        ("ws://h:1", "ws://h:1/v1/ws"),
        ("ws://h:1/", "ws://h:1/v1/ws"),
        ("http://h:1/", "ws://h:1/v1/ws"),
        ("https://h/edge/ws", "wss://h/edge/ws"),
        ("ws://[::1]:7480", "ws://[::1]:7480/v1/ws"),
        ("ws://h:1/v1/ws?x=1", "ws://h:1/v1/ws?x=1"),
    ],
)
def test_websocket_url(written: str, expected: str) -> None:
    assert websocket_url(written) == expected


@pytest.mark.parametrize("written", ["", "ws://", "ftp://h:1", "h:port", "h:99999", "ws://h:"])
def test_nonsense_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(CommandError, match="write it like ws://127"):
        websocket_url(written)


def test_http_url() -> None:
    assert http_url("ws://h:1/v1/ws") == "http://h:1"
    assert http_url("h:1") == "http://h:1"


def test_development_token() -> None:
    assert development_token("a.b", "default") == "dev.default.a_2Eb"
    with pytest.raises(IdInvalidError, match="--user"):
        development_token("", "default")
