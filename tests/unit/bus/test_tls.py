"""TLS files: what can't be used is refused by name, and a change is taken whole or not at all. NATS: over TLS, or not at all."""

import asyncio
import base64
import binascii
import io
from pathlib import Path

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runcast.bus.connection import Bus
from runcast.bus.nats_credentials import CredentialsError, read_jwt, sign
from runcast.bus.settings import ServiceSettings, SettingsError, load_settings
from runcast.bus.tls import CertificateError, Certificates
from runcast.testkit.plugin import ClusterFactory
from tests.certificates import Authority


def load(**environ: str | Path) -> ServiceSettings:
    return load_settings(
        ServiceSettings, "edge", {"RUNCAST_AUTH": "dev", **{f"RUNCAST_{name}": str(value) for name, value in environ.items()}}
    )


def problems(**environ: str | Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load(**environ)
    return str(caught.value)


def test_settings_that_can_not_work_are_told(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.sign("a")
    other = authority.sign("b")
    nothing = tmp_path / "nothing"
    assert "belong together" in problems(TLS_CERT=cert)
    assert "belong together" in problems(NATS_KEY=key, NATS_URL="tls://h")
    assert "needs TLS" in problems(TLS_CA=authority.path)
    assert "tls://" in problems(NATS_CA=authority.path)
    assert "tls://" in problems(NATS_CA=authority.path, NATS_URL="tls://a,nats://b")
    assert str(nothing) in problems(TLS_CERT=nothing, TLS_KEY=key)
    assert "the key that belongs to it" in problems(TLS_CERT=cert, TLS_KEY=other[1])
    assert str(key) in problems(TLS_CERT=cert, TLS_KEY=key, TLS_CA=key)
    assert "b.crt" not in problems(TLS_CERT=cert, TLS_KEY=key, NATS_URL="tls://h", NATS_CREDS=nothing)
    assert str(nothing) in problems(NATS_CREDS=nothing)
    assert load(TLS_CERT=cert, TLS_KEY=key, TLS_CA=authority.path, NATS_CA=authority.path, NATS_URL="tls://h").tls_cert == str(cert)


def test_a_change_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.sign("a")
    certificates = Certificates(str(cert), str(key), str(authority.path))
    first, changes, output = certificates.pem, [], io.StringIO()
    certificates.changed.append(lambda: changes.append(certificates.pem))
    log = structlog.wrap_logger(structlog.PrintLogger(output), wrapper_class=structlog.stdlib.BoundLogger)
    certificates.look_again(log)
    key.write_bytes(authority.sign("b")[1].read_bytes())  # half of a change
    certificates.look_again(log)
    certificates.look_again(log)
    assert certificates.pem is first
    assert not changes
    assert output.getvalue().count("certificate_not_reloaded") == 1
    authority.sign("a")
    certificates.look_again(log)
    assert certificates.pem.cert == cert.read_bytes() != first.cert
    assert changes == [certificates.pem]
    key.unlink()
    certificates.look_again(log)
    assert certificates.pem is changes[0]
    assert "PRIVATE" not in output.getvalue()
    with pytest.raises(CertificateError, match="can't be read"):
        Certificates(str(cert), str(key))


def write_creds(path: Path, kind: int = 20) -> Ed25519PrivateKey:
    """A credentials file as nsc writes it; the first five bits after the seed's 18 say whose it is, 20 for a user's."""
    key = Ed25519PrivateKey.generate()
    raw = bytes([18 << 3 | kind >> 5, (kind & 31) << 3]) + key.private_bytes_raw()
    raw += binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    seed = base64.b32encode(raw).decode().rstrip("=")
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\neyJ0.eyJ1.c2ln\n------END NATS USER JWT------\n\n*** IMPORTANT ***\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    return key


def test_credentials_are_read_and_sign(tmp_path: Path) -> None:
    path = tmp_path / "user.creds"
    key = write_creds(path, 20 << 3)
    assert read_jwt(str(path)) == b"eyJ0.eyJ1.c2ln"
    key.public_key().verify(sign(str(path), b"nonce"), b"nonce")
    text = path.read_text()
    seed = next(line for line in text.splitlines() if line.startswith("SU"))
    swapped = seed[:20] + ("A" if seed[20] != "A" else "B") + seed[21:]
    for wrong in (swapped, "SA" + seed[2:], seed[:-1]):
        path.write_text(text.replace(seed, wrong))
        with pytest.raises(CredentialsError) as caught:
            sign(str(path), b"nonce")
        assert wrong[2:10] not in str(caught.value)
    path.write_text("nothing")
    with pytest.raises(CredentialsError, match="nsc generate creds"):
        read_jwt(str(path))


async def open_bus(settings: ServiceSettings) -> tuple[Bus, str]:
    """A bus, once it is connected or was refused; and what it said."""
    output, told = io.StringIO(), asyncio.Event()

    def notice(logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        told.set()
        return event

    log = structlog.wrap_logger(
        structlog.PrintLogger(output), processors=[notice, structlog.processors.JSONRenderer()], wrapper_class=structlog.stdlib.BoundLogger
    )
    bus = Bus(log)
    async with asyncio.TaskGroup() as group:
        opening = group.create_task(bus.open(settings))
        await told.wait()
        if not bus.connected:
            opening.cancel()
    return bus, output.getvalue()


@pytest.mark.parametrize("mutual", [False, True])
async def test_nats_over_tls(tmp_path: Path, runcast_cluster_factory: ClusterFactory, *, mutual: bool) -> None:
    authority = Authority(tmp_path)
    nats = await runcast_cluster_factory(routers=0, edges=0, tls=authority.cluster(mutual=mutual))
    assert nats.tls is not None
    own = nats.tls.environ()
    names = {"nats_cert": own["RUNCAST_NATS_CERT"], "nats_key": own["RUNCAST_NATS_KEY"]} if mutual else {}
    bus, _ = await open_bus(ServiceSettings(nats_url=nats.nats_url, auth="dev", id="t", nats_ca=str(authority.path), **names))
    assert bus.connected
    await bus.close()
    other = Authority.in_directory(tmp_path / "other", "other")
    bus, said = await open_bus(ServiceSettings(nats_url=nats.nats_url, auth="dev", id="t", nats_ca=str(other.path), **names))
    assert not bus.connected
    assert "certificate" in said.lower()


async def test_a_server_without_tls_is_told_nothing(tmp_path: Path, runcast_cluster_factory: ClusterFactory) -> None:
    nats = await runcast_cluster_factory(routers=0, edges=0)
    url = nats.nats_url.replace("nats://", "tls://me:secret@")
    bus, said = await open_bus(ServiceSettings(nats_url=url, auth="dev", id="t", nats_ca=str(Authority(tmp_path).path)))
    assert not bus.connected
    assert "nothing is said to it" in said
    assert "secret" not in said
