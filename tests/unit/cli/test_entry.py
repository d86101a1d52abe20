"""Which line a command takes, and to whom it would show a token."""

from pathlib import Path

import pytest

from runcast.cli.entry import TlsFiles, check_exposure, edge_urls, router_targets
from runcast.cli.failures import CommandError
from runcast.cli.tail import chosen_token
from tests.certificates import Authority

CA = TlsFiles(ca=Path("ca.pem"))


@pytest.mark.parametrize(
    ("written", "files", "targets", "tls"),
    [
        ("a:1", TlsFiles(), "a:1", False),
        ("a:1,b:2", CA, "a:1,b:2", True),
        ("https://a:1, https://b:2/", TlsFiles(), "a:1,b:2", True),
        ("http://a:1", TlsFiles(), "a:1", False),
    ],
)
def test_router_targets(written: str, files: TlsFiles, targets: str, tls: bool) -> None:
    assert router_targets(written, files) == (targets, tls)


@pytest.mark.parametrize(
    ("written", "files", "words"),
    [("https://a:1,b:2", TlsFiles(), "one kind"), ("http://a:1", CA, "write https://"), ("ws://a:1", TlsFiles(), "not an address")],
)
def test_router_targets_that_contradict_are_refused(written: str, files: TlsFiles, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        router_targets(written, files)


def test_edges_have_the_tls_that_was_asked_for() -> None:
    assert edge_urls(["a:1", "wss://b:2"], CA) == ["wss://a:1/v1/ws", "wss://b:2/v1/ws"]
    assert edge_urls(["a:1"], TlsFiles()) == ["ws://a:1/v1/ws"]
    with pytest.raises(CommandError, match="write wss://a:1"):
        edge_urls(["ws://a:1"], CA)


@pytest.mark.parametrize("url", ["ws://10.0.0.1:1/v1/ws", "http://router.example:7400", "ws://127.evil.example:1"])
def test_a_token_goes_to_others_over_tls_only(url: str) -> None:
    with pytest.raises(CommandError, match=r"in plain text; write (wss|https)://") as caught:
        check_exposure([url], insecure=False)
    assert "secret" not in str(caught.value)
    check_exposure([url], insecure=True)
    check_exposure([url.replace("ws:", "wss:").replace("http:", "https:"), "ws://127.0.0.1:1", "http://[::1]:1"], insecure=False)


def test_somebody_is_named() -> None:
    assert chosen_token("t", "", "default", ["ws://127.0.0.1:1"], insecure=False) == "t"
    assert chosen_token("", "alice", "default", ["ws://a:1"], insecure=False) == "dev.default.alice"
    with pytest.raises(CommandError, match="--user, or --token"):
        chosen_token("", "", "default", ["ws://127.0.0.1:1"], insecure=False)


def test_files_that_will_not_do_are_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.sign("client")
    good = TlsFiles(authority.path, cert, key)
    assert good.context().check_hostname
    assert good.agent().ca == authority.path
    for make in (TlsFiles.context, TlsFiles.agent):
        with pytest.raises(CommandError, match="belong together"):
            make(TlsFiles(authority.path, cert))
        with pytest.raises(CommandError, match=r"missing\.pem"):
            make(TlsFiles(tmp_path / "missing.pem"))
