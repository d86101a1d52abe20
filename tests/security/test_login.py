"""docs/users.md as it is written there: its auth file, an edge that reads it, tokens as providers make them.

The providers' key set is served by a real HTTP server on this machine; nothing else of the example is changed. The page's own command makes
the secret.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from runcast.bus.identity.authfile import AuthFileError, read_authfile
from runcast.cli.main import app
from runcast.testkit import Cluster, Device, DeviceClosedError
from runcast.wire.codes import CODES
from tests.delivery.test_users import start_edge
from tests.unit.bus.identity.issuing import KeyServer, public_jwk, sign

TEXT = (Path(__file__).parents[2] / "docs/users.md").read_text()
EXAMPLE = "".join(part.split("```")[0] for part in TEXT.split("```toml\n")[1:])
pytestmark = pytest.mark.xdist_group("login")


BACKEND = """[[issuers]]
name = "backend"
issuer = "https://api.example.com"
audience = ["runcast"]
algorithms = ["HS256"]
secret = {}
tenant = "default"
"""


class Provider(NamedTuple):
    """What its tokens claim, beside who the user is, as its documentation shows them."""

    algorithm: str
    kid: str
    tenant: str
    claims: dict[str, Any]

    def token(self, user: str, **changes: Any) -> str:
        key = "rsa" if self.kid == "rsa" else "p256"
        return sign(key, self.algorithm, {"kid": self.kid, "typ": "JWT"}, sub=user, **{"jti": None, **self.claims, **changes})


PROVIDERS = {
    "auth0": Provider(
        "RS256",
        "rsa",
        "org_acme",
        {
            "iss": "https://YOUR-TENANT.eu.auth0.com/",
            "aud": ["runcast", "https://YOUR-TENANT.eu.auth0.com/userinfo"],
            "azp": "page",
            "scope": "openid profile",
            "org_id": "org_acme",
        },
    ),
    "keycloak": Provider(
        "ES256",
        "ec",
        "staff",
        {
            "iss": "https://sso.example.com/realms/staff",
            "aud": ["runcast", "account"],
            "typ": "Bearer",
            "azp": "page",
            "realm_access": {"roles": ["offline_access"]},
        },
    ),
    "cognito": Provider(
        "RS256",
        "rsa",
        "customers",
        {
            "iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_POOL",
            "aud": "APP-CLIENT-ID",
            "token_use": "id",
            "cognito:username": "somebody",
        },
    ),
}
"""By the name of the issuer in the example."""


class Door(NamedTuple):
    """An edge with the example."""

    url: str
    auth_file: Path


@pytest.fixture(scope="module")
def door(runcast_cluster: Cluster, _runcast_home: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    keys = KeyServer()
    _runcast_home.run(keys.start)
    keys.keys = [public_jwk("rsa", kid="rsa", use="sig"), public_jwk("p256", kid="ec", use="sig")]
    auth_file = tmp_path_factory.mktemp("login") / "auth.toml"
    text, changed = re.subn(r'^jwks_url = ".*"$', f"jwks_url = {json.dumps(keys.url)}", EXAMPLE, flags=re.MULTILINE)
    assert changed == len(PROVIDERS)
    auth_file.write_text(text)
    (making,) = re.findall(r"`(openssl rand [^`]*> [^`]*)`", EXAMPLE)
    subprocess.run(["/bin/bash", "-c", making], cwd=auth_file.parent, timeout=10, check=True)
    process, base = _runcast_home.run(lambda: start_edge(runcast_cluster, RUNCAST_AUTH="jwt", RUNCAST_AUTH_FILE=str(auth_file)))
    yield Door(f"{base.replace('http', 'ws')}/v1/ws", auth_file)
    _runcast_home.run(process.stop)
    _runcast_home.run(keys.stop)


async def sees_what_agents_say(runcast_cluster: Cluster, door: Door, tenant: str, user: str, token: str) -> None:
    async with runcast_cluster.connect(tenant=tenant) as agent, Device(door.url, token, position="earliest") as device:
        async with agent.run(user=user) as run:
            await run.respond(f"for {user}")
        said = await device.wait_kind("agent_response")
        assert said.agent_response.text == f"for {user}"


@pytest.mark.parametrize("name", PROVIDERS)
async def test_who_logged_in_there_sees_what_agents_say(name: str, door: Door, runcast_cluster: Cluster, user: str) -> None:
    provider = PROVIDERS[name]
    await sees_what_agents_say(runcast_cluster, door, provider.tenant, user, provider.token(user))
    others = [
        ("of another application", {"aud": "another-application"}),
        ("of another provider's", {"iss": "https://evil.test/"}),
        *([("of an organization that is not listed", {"org_id": "org_evil"})] if name == "auth0" else []),
    ]
    for what, changes in others:
        with pytest.raises(DeviceClosedError) as caught:
            async with Device(door.url, provider.token(user, **changes)):
                pass
        assert caught.value.close_code == CODES["unauthenticated"].close, what


def test_the_documents_show_no_secret_that_would_work(tmp_path: Path) -> None:
    """Whoever pastes an example has to make the secret, or is told that it is everybody's."""
    root = Path(__file__).parents[2]
    texts = [path.read_text() for folder in (root, root / "docs", root / "deploy") for path in folder.glob("*.md")]
    shown = [secret for text in texts for secret in re.findall(r'^(?:secret|bearer) = "(.*?)"', text, re.MULTILINE)]
    for number, secret in enumerate(shown):
        path = tmp_path / f"{number}.toml"
        path.write_text(BACKEND.format(json.dumps(secret)))
        with pytest.raises(AuthFileError):
            read_authfile(path)
    path = tmp_path / "http.toml"
    path.write_text('[http]\nurl = "https://api.example.com/who"\nbearer = "proves to it that an edge asks"\n')
    with pytest.raises(AuthFileError, match="bearer: it is an example's"):
        read_authfile(path)


async def test_a_token_of_your_own_backend(door: Door, runcast_cluster: Cluster, user: str) -> None:
    line = ["token", "--auth-file", str(door.auth_file), "--issuer", "backend", "--user", user, "--lifetime", "600"]
    token = CliRunner().invoke(app, line).stdout.strip()
    await sees_what_agents_say(runcast_cluster, door, "default", user, token)
