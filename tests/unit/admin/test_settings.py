"""What an admin process refuses to start with, and what it says to set."""

from pathlib import Path

import pytest

from runcast.admin.settings import AdminSettings
from runcast.bus.identity.apikeys import make_key
from runcast.bus.settings import SettingsError, load_settings

KEPT = make_key("k123", bytes(range(32))).kept


def load(tmp_path: Path, *, admins: bool = True, **environ: str) -> AdminSettings:
    file = tmp_path / "auth.toml"
    file.write_text(f'[[admins]]\nname = "ops"\nkeys = ["{KEPT}"]\n' if admins else "")
    values = {"RUNCAST_AUTH": "token", "RUNCAST_AUTH_FILE": str(file)} | environ
    return load_settings(AdminSettings, "admin", values)


def test_the_defaults_are_on_loopback(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.bind, settings.http_bind, settings.inbox_prefix) == ("127.0.0.1:7402", "127.0.0.1:7481", "_INBOX_ADMIN")


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"RUNCAST_AUTH": ""}, "no authentication is configured, so nothing is served; set RUNCAST_AUTH=token or mtls"),
        ({"RUNCAST_AUTH": "jwt"}, "use one of dev, token, mtls"),
        ({"RUNCAST_AUTH": "mtls"}, "set RUNCAST_TLS_CERT, RUNCAST_TLS_KEY and RUNCAST_TLS_CA"),
        ({"RUNCAST_AUTH": "dev", "RUNCAST_BIND": "0.0.0.0:1"}, "listens on loopback only, not on 0.0.0.0; set RUNCAST_BIND"),
        ({"RUNCAST_AUTH": "dev", "RUNCAST_HTTP_BIND": "0.0.0.0:1"}, "listens on loopback only, not on 0.0.0.0; set RUNCAST_HTTP_BIND"),
        ({"RUNCAST_HTTP_BIND": "here"}, "RUNCAST_HTTP_BIND='here': expected HOST:PORT"),
        ({"RUNCAST_BIND": "10.0.0.1:1"}, "keys would come to 10.0.0.1 in plain text"),
        ({"RUNCAST_HTTP_BIND": "10.0.0.1:1"}, "keys would come to 10.0.0.1 in plain text"),
    ],
)
def test_what_cannot_work_is_told(tmp_path: Path, environ: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, **environ)
    assert told in str(caught.value)


def test_what_something_in_front_does_is_believed(tmp_path: Path) -> None:
    assert load(tmp_path, RUNCAST_BIND="0.0.0.0:1", RUNCAST_HTTP_BIND="0.0.0.0:2", RUNCAST_PLAIN_TEXT="true").plain_text


def test_an_auth_file_without_operators_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no \[\[admins\]\]; `runcast key NAME --role view,operate`"):
        load(tmp_path, admins=False)
