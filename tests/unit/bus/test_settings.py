"""Settings: what can't work is refused at the start, all of it at once, and secrets are not shown."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from runcast.bus.logs import configure_logs, settings_dict
from runcast.bus.settings import ServiceSettings, SettingsError, load_settings, masked_urls

GOOD = {"RUNCAST_AUTH": "dev"}


class Sized(ServiceSettings, frozen=True, kw_only=True):
    shards: int = 0


def load(**environ: str) -> ServiceSettings:
    return load_settings(ServiceSettings, "edge", {**GOOD, **{f"RUNCAST_{name}": value for name, value in environ.items()}})


def problems(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(**environ)
    return str(caught.value)


def test_the_defaults_and_the_id() -> None:
    settings = load()
    assert settings.nats_servers == ["nats://127.0.0.1:4222"]
    assert (settings.host, settings.port, settings.log, settings.log_level) == ("127.0.0.1", 0, "text", "info")
    assert settings.id.startswith("edge-")
    assert load(ID="e-7").id == "e-7"
    assert load(ID="").id.startswith("edge-")


def test_other_variables_are_left_alone() -> None:
    assert load_settings(ServiceSettings, "edge", {**GOOD, "PATH": "/bin", "RUNCAST_OTHER": "1", "runcast_bind": "x"}).port == 0


def test_numbers_are_read() -> None:
    assert load_settings(Sized, "router", {**GOOD, "RUNCAST_SHARDS": "8"}).shards == 8
    with pytest.raises(SettingsError, match=r"RUNCAST_SHARDS='eight': .*int"):
        load_settings(Sized, "router", {**GOOD, "RUNCAST_SHARDS": "eight"})


def test_every_problem_is_told_in_one_go() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(
            Sized,
            "router",
            {
                "RUNCAST_SHARDS": "x",
                "RUNCAST_LOG": "xml",
                "RUNCAST_LOG_LEVEL": "loud",
                "RUNCAST_BIND": "nowhere",
                "RUNCAST_NATS_URL": " , ",
            },
        )
    lines = str(caught.value).splitlines()
    assert len(lines) == 6
    for name in ("RUNCAST_SHARDS", "RUNCAST_LOG=", "RUNCAST_LOG_LEVEL", "RUNCAST_BIND", "RUNCAST_NATS_URL", "RUNCAST_AUTH"):
        assert any(name in line for line in lines), name


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LOG", "xml", "RUNCAST_LOG='xml': use one of text, json"),
        ("LOG_LEVEL", "INFO", "use one of debug, info, warning, error"),
        ("AUTH", "token", "RUNCAST_AUTH='token': use one of dev"),
        ("AUTH", "", "set RUNCAST_AUTH=dev"),
        ("NATS_URL", "", "set it to nats://HOST:4222"),
        ("NATS_URL", "http://localhost:4222", "'http://localhost:4222' is not a NATS server's URL"),
        ("NATS_URL", "nats://localhost:port", "expected nats://HOST:4222"),
        ("NATS_URL", "nats://localhost:99999", "expected nats://HOST:4222"),
        ("NATS_URL", "nats://", "expected nats://HOST:4222"),
        ("NATS_URL", "nats://a:4222,nats://:1", "'nats://:1' is not"),
        ("NATS_URL", "nats://me:secret@host:port", "'nats://***@host:port' is not"),
    ],
)
def test_a_problem_says_what_to_set(name: str, value: str, says: str) -> None:
    text = problems(**{name: value})
    assert says in text
    assert "secret" not in text


@pytest.mark.parametrize(
    "url",
    ["nats://h:4222", "tls://h", "ws://h:80", "wss://h", "h:4222", "h", "nats://u:p@h:4222", "nats://[::1]:4222", "nats://a, nats://b"],
)
def test_urls_that_nats_takes(url: str) -> None:
    assert len(load(NATS_URL=url).nats_servers) == url.count(",") + 1


@pytest.mark.parametrize(
    ("bind", "host", "port"),
    [
        ("127.0.0.1:7400", "127.0.0.1", 7400),
        ("127.8.9.1:0", "127.8.9.1", 0),
        ("localhost:65535", "localhost", 65535),
        ("[::1]:7400", "::1", 7400),
    ],
)
def test_loopback_is_taken(bind: str, host: str, port: int) -> None:
    settings = load(BIND=bind)
    assert (settings.host, settings.port) == (host, port)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",  # noqa: S104 # that it is refused is the point
        "[::]",
        "10.0.0.1",
        "128.0.0.1",
        "127.evil.com",
        "127.0.0.1.evil.com",
        "127.0.0.1.2",
        "127.1",
        "127.",
        "127.0.0.256",
        "127.0.0.1 ",
        " 127.0.0.1",
        "127.0.0.\u0661",
        "localhost.evil.com",
        "localhost.",
        "evil.localhost",
        "*",
        "[fe80::1]",
        "[::2]",
        "0",
        "2130706433",
        "0x7f000001",
    ],
)
def test_development_mode_stays_on_loopback(host: str) -> None:
    text = problems(BIND=f"{host}:7400")
    assert "loopback only" in text
    assert host.strip("[]") in text


@pytest.mark.parametrize(
    "bind",
    [
        "",
        "127.0.0.1",
        ":7400",
        "7400",
        "127.0.0.1:",
        "127.0.0.1:port",
        "127.0.0.1:-1",
        "127.0.0.1:65536",
        "127.0.0.1:74 00",
        "127.0.0.1:\u0667",
        "127.0.0.1:" + "9" * 5000,
        "[::1]",
    ],
)
def test_a_bind_address_has_host_and_port(bind: str) -> None:
    assert "expected HOST:PORT, such as 127.0.0.1:7400" in problems(BIND=bind)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nats://h:4222", "nats://h:4222"),
        ("nats://me:secret@h:4222", "nats://***@h:4222"),
        ("nats://secret@h", "nats://***@h"),
        ("me:secret@h:4222", "***@h:4222"),
        ("nats://a,nats://me:secret@b,tls://me:secret@c", "nats://a,nats://***@b,tls://***@c"),
        ("nats://me:se@cret@h", "nats://***@h"),
        ("nats://me:se,cr,et@h,nats://b", "nats://***@h,nats://b"),
    ],
)
def test_secrets_in_urls_are_masked(text: str, shown: str) -> None:
    assert masked_urls(text) == shown


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("runcast").setLevel(logging.NOTSET)


@pytest.mark.usefixtures("logging_as_it_was")
def test_what_is_shown_at_the_start_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    settings = load(NATS_URL="nats://me:secret@h:4222,me:secret@i:4222", LOG="json", ID="e1")
    assert settings_dict(settings)["nats_url"] == "nats://***@h:4222,***@i:4222"
    configure_logs(settings, "edge")
    lines = [json.loads(line) for line in stderr.getvalue().splitlines()]
    assert (lines[0]["event"], lines[0]["role"], lines[0]["id"], lines[0]["nats_url"]) == (
        "starting",
        "edge",
        "e1",
        "nats://***@h:4222,***@i:4222",
    )
    assert any("DEVELOPMENT MODE" in line["event"] for line in lines)
    assert "secret" not in stderr.getvalue()
