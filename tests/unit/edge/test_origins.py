"""Which pages may connect."""

import pytest

from runcast.edge.origins import Origins, is_origin

HOST = "runcast.example.com"
LISTED = Origins(["https://app.example.com", "http://localhost:3000/"])


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example.com", True),
        ("https://APP.example.com", True),
        ("http://localhost:3000", True),
        ("https://runcast.example.com", True),
        ("https://runcast.example.com:443", True),
        ("http://runcast.example.com", False),
        ("https://runcast.example.com:8443", False),
        ("http://app.example.com", False),
        ("https://app.example.com:8443", False),
        ("https://app.example.com.evil.test", False),
        ("https://evil.test/app.example.com", False),
        ("https://app.example.com@evil.test", False),
        ("https://xapp.example.com", False),
        ("http://localhost:3001", False),
        ("http://localhost", False),
        ("null", False),
        ("", False),
        ("*", False),
        ("file://", False),
        ("https://", False),
        ("https://app.example.com, https://app.example.com", False),
        ("https://[::1", False),
        ("https://app.example.com:x", False),
    ],
)
def test_a_page_is_of_the_edge_itself_or_on_the_list(origin, allowed):
    for host in (f"{HOST}:443", "RUNCAST.example.com:443"):
        assert LISTED.allow(origin, host, cookie=False) is allowed
        assert LISTED.allow(origin, host, cookie=True) is allowed


def test_behind_a_proxy_that_ends_tls_the_scheme_is_the_pages_own():
    for origin in (f"https://{HOST}", f"http://{HOST}"):
        assert Origins([]).allow(origin, HOST, cookie=True)


def test_what_is_no_page_brings_its_token_itself():
    assert LISTED.allow(None, HOST, cookie=False)
    assert not LISTED.allow(None, HOST, cookie=True)


@pytest.mark.parametrize("site", ["", "none", "same-site", "cross-site", "SAME-ORIGIN", "same-origin, same-origin"])
def test_a_read_of_the_edges_own_page_names_no_origin(site):
    assert LISTED.allow(None, HOST, cookie=True, fetch_site="same-origin")
    assert not LISTED.allow(None, HOST, cookie=True, fetch_site=site)
    for origin in ("https://evil.test", "null", "http://app.example.com"):
        assert not LISTED.allow(origin, HOST, cookie=True, fetch_site="same-origin")
    local = Origins([], local=True)
    assert local.allow(None, "127.0.0.1:7480", cookie=True, fetch_site="same-origin")
    assert not local.allow(None, "rebound.evil.test:7480", cookie=True, fetch_site="same-origin")


def test_a_star_is_for_all_but_cookies():
    star = Origins(["*"])
    assert star.allow("https://evil.test", HOST, cookie=False)
    assert star.allow("null", HOST, cookie=False)
    assert not star.allow("https://evil.test", HOST, cookie=True)
    assert star.allow(f"https://{HOST}", HOST, cookie=True)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://127.0.0.1:7480", True),
        ("http://localhost:3000", True),
        ("http://[::1]:1", True),
        ("https://evil.test", False),
        ("http://127.0.0.1.evil.test", False),
        ("http://rebound.evil.test:7480", False),
        ("null", False),
    ],
)
def test_development_mode_is_for_pages_of_this_machine(origin, allowed):
    host = "rebound.evil.test:7480" if "rebound" in origin else "127.0.0.1:7480"
    assert Origins([], local=True).allow(origin, host, cookie=False) is allowed
    assert Origins(["https://dev.example.com"], local=True).allow("https://dev.example.com", host, cookie=False)


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("https://app.example.com", True),
        ("http://localhost:3000/", True),
        ("*", True),
        ("app.example.com", False),
        ("https://app.example.com/path", False),
        ("https://app.example.com?x", False),
        ("wss://app.example.com", False),
        ("https://", False),
        ("null", False),
    ],
)
def test_what_can_be_on_the_list(text, fine):
    assert is_origin(text) is fine
