"""What is wrong with an auth file is told at once, where it is, and without its secrets."""

import pytest

from runcast.bus.identity.authfile import AuthFileError, Issuer, read_authfile, safe_url
from runcast.wire import limits
from tests.unit.bus.identity.issuing import SECRET, issuer, private_pem, public_pem, read, write


def problems(tmp_path, *issuers, **files: str) -> list[str]:
    with pytest.raises(AuthFileError) as caught:
        read(tmp_path, *issuers, **files)
    assert SECRET not in str(caught.value)
    return str(caught.value).splitlines()


def test_all_problems_are_told_together(tmp_path):
    told = problems(
        tmp_path,
        issuer(audiense=["runcast"], leeway_s=-1),
        issuer(name="two", issuer="https://two.test/", algorithms=["none"]),
        issuer(name="three", issuer="https://three.test/", secret="short"),
        issuer(name="four", issuer="https://four.test/", tenant=""),
    )
    assert all(str(tmp_path / "auth.toml") in line for line in told)
    text = "\n".join(told)
    for part in (
        "did you mean audience",
        "leeway_s: Expected `float` >= 0.0",
        "none can't be allowed",
        "use 32 random",
        'tenant = "default"',
    ):
        assert part in text
    assert len(told) == 5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"secret": ""}, "set one of jwks_url, public_key_file, secret, secret_file"),
        ({"jwks_url": "https://login.test/jwks", "secret": SECRET}, "not jwks_url and secret"),
        ({"secret": "", "jwks_url": "http://login.test/jwks", "algorithms": ["RS256"]}, "use https://"),
        ({"secret": "", "jwks_url": "file:///etc/keys", "algorithms": ["RS256"]}, "use https://"),
        ({"secret": "", "jwks_url": "https://login.test/jwks"}, "HS256 needs a secret"),
        ({"algorithms": ["HS256", "RS256"]}, "RS256 needs a public key"),
        ({"algorithms": []}, "algorithms"),
        ({"algorithms": ["none"]}, "none can't be allowed"),
        ({"algorithms": ["HS512"], "secret": "s" * 63}, "use 64 random ones or more"),
        ({"secret": "replace-me-with-32-random-bytes-or-more"}, "the secret is an example's, which everybody knows; make one: openssl"),
        ({"secret": "", "secret_file": "published.pem"}, "the secret is an example's"),
        ({"audience": []}, "audience"),
        ({"audience": "runcast"}, "audience: Expected `array`"),
        ({"issuer": ""}, "issuer"),
        ({"tenant": "t" * (limits.ID_BYTES_MAX + 1)}, "tenant has 129 bytes"),
        ({"tenant_claim": "org"}, "not both"),
        ({"tenants": ["acme"]}, "tenants belongs to tenant_claim"),
        ({"secret": "", "public_key_file": "gone.pem", "algorithms": ["RS256"]}, "'gone.pem' can't be read: No such file"),
        ({"secret": "", "secret_file": "a\0b"}, "can't be read: no file has a name with a zero byte"),
        ({"secret": "", "public_key_file": "text.pem", "algorithms": ["RS256"]}, "no PEM block"),
        ({"secret": "", "public_key_file": "private.pem", "algorithms": ["RS256"]}, "holds a private key"),
        ({"secret": "", "public_key_file": "short.pem", "algorithms": ["RS256"]}, "the RSA key has 1024 bits"),
        ({"secret": "", "public_key_file": "strange.pem", "algorithms": ["ES256"]}, "none of RSA, P-256"),
        ({"secret": "", "public_key_file": "broken.pem", "algorithms": ["ES256"]}, "no public key and no certificate"),
    ],
    ids=str,
)
def test_a_problem_says_what_to_set(tmp_path, change, told):
    files = {
        "text_pem": "hello",
        "published_pem": "replace-me-with-32-random-bytes-or-more\n",
        "private_pem": private_pem("rsa"),
        "short_pem": public_pem("rsa1024"),
        "strange_pem": public_pem("k256"),
        "broken_pem": public_pem("p256").replace("M", "A"),
    }
    assert told in "\n".join(problems(tmp_path, issuer(**change), **files))


def test_issuers_are_told_apart(tmp_path):
    assert "twice" in "\n".join(problems(tmp_path, issuer(), issuer(name="two")))
    assert "twice" in "\n".join(problems(tmp_path, issuer(), issuer(issuer="https://two.test/")))


def test_no_issuer_may_name_the_users_of_another(tmp_path):
    by_claim = issuer(tenant="", tenant_claim="org")
    read(tmp_path, by_claim)
    two = issuer(name="two", issuer="https://two.test/", tenant="two")
    assert "none is to name another's users" in "\n".join(problems(tmp_path, by_claim, two))
    read(tmp_path, by_claim | {"tenants": ["acme"]}, two)


@pytest.mark.parametrize(
    "text", [b"\xff", b"[[issuers]", b"issuers = 5", b"[issuers]\nname = 1", b"[[issuer]]\n", b"#" * (2 << 20), b"x = " + b"9" * 5000]
)
def test_what_is_no_auth_file(tmp_path, text):
    (tmp_path / "auth.toml").write_bytes(text)
    with pytest.raises(AuthFileError):
        read_authfile(tmp_path / "auth.toml")
    with pytest.raises(AuthFileError, match="can't be read"):
        read_authfile(tmp_path)


def test_a_secret_in_a_file_of_its_own(tmp_path):
    file = read(tmp_path, issuer(secret_file="login.secret"), **{"login.secret": SECRET + "\n"})
    assert [key.value for key in file.keys["https://login.test/"]] == [SECRET.encode()]
    assert not file.changed
    (tmp_path / "login.secret").write_text(SECRET + "2")
    assert file.changed


def test_an_issuer_is_shown_without_its_secret(tmp_path):
    file = read(tmp_path, issuer())
    assert SECRET not in repr(file.issuers)
    assert isinstance(file.issuers["https://login.test/"], Issuer)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://login.test/jwks", True),
        ("http://127.0.0.1:80/jwks", True),
        ("http://localhost/jwks", True),
        ("http://[::1]:8080/", True),
        ("http://login.test/jwks", False),
        ("http://127.0.0.1.evil.test/", False),
        ("http://0.0.0.0/", False),
        ("ftp://login.test/", False),
        ("https://", False),
        ("https://login.test:0/", False),
        ("https://login.test:x/", False),
        ("https://[::1", False),
        ("", False),
    ],
)
def test_urls_that_nobody_on_the_way_can_change(url, safe):
    assert safe_url(url) is safe


def test_an_empty_file_believes_nobody(tmp_path):
    assert not read_authfile(write(tmp_path)).issuers
