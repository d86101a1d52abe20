"""The line to an admin process: where it is, how it is believed, and which key is shown.

Rules: a key goes over plain text to loopback only, unless that was allowed in so many words; it is in no message. It is best given by
RUNCAST_ADMIN_KEY or a file: what is written on a command line, other programs of the machine can read.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final

import grpc
import typer

from runcast.cli.addresses import DEFAULT_ADMIN
from runcast.cli.entry import InsecureToken, TlsCa, TlsCert, TlsFiles, TlsKey, check_exposure, router_targets
from runcast.cli.failures import NOT_BEGUN, TIMED_OUT, CommandError, guarded
from runcast.v1.admin_pb2_grpc import AdminServiceStub

CALL_S: Final = 15.0
"""For an answer."""
_KEY_CHARS_MAX: Final = 1024

Url = Annotated[str, typer.Option("--url", envvar="RUNCAST_ADMIN_URL", help="An admin process, HOST:PORT; https://HOST:PORT for TLS.")]
Key = Annotated[str, typer.Option("--key", envvar="RUNCAST_ADMIN_KEY", help="Your key; better by RUNCAST_ADMIN_KEY or --key-file.")]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", envvar="RUNCAST_ADMIN_KEY_FILE", exists=True, dir_okay=False, help="A file with your key.")
]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


class Line:
    """How a command reaches an admin process.

    Args:
        url: as written.
        key: an API key; "" for none.
        files: for TLS.
        insecure: the key may go over plain text to other machines.

    Attributes:
        target: `host:port`.
        as_json: the command's answer is for programs.

    Raises:
        CommandError: that can't work.
    """

    def __init__(self, url: str, key: str, files: TlsFiles, *, insecure: bool = False, as_json: bool = False) -> None:
        self.target, tls = router_targets(url, files)
        if key and not (key.isascii() and key.isprintable() and len(key) <= _KEY_CHARS_MAX and " " not in key):
            raise CommandError("usage", "the key is no key: it has characters that no key has", status=NOT_BEGUN)
        if key:
            check_exposure([f"{'https' if tls else 'http'}://{self.target}"], insecure=insecure)
        self.as_json = as_json
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._files = files if tls else None

    @contextmanager
    def open(self) -> Iterator["Call"]:
        """Connect, for the block.

        Raises:
            CommandError: TLS's files can't be used; or what a call was refused with.
        """
        if self._files is None:
            channel = grpc.insecure_channel(self.target)
        else:
            ca, cert, key = self._files.agent().read()
            channel = grpc.secure_channel(self.target, grpc.ssl_channel_credentials(ca, key, cert))
        with channel:
            yield Call(AdminServiceStub(channel), self._metadata, self.target)


class Call:
    """Makes calls."""

    def __init__(self, stub: AdminServiceStub, metadata: tuple[tuple[str, str], ...], target: str) -> None:
        self._stub = stub
        self._metadata = metadata
        self._target = target

    def __call__(self, name: str, request: Any, *, within_s: float = CALL_S) -> Any:
        """Call an RPC by its name.

        Raises:
            CommandError: it was refused, nobody answered, or not in time.
        """
        try:
            return getattr(self._stub, name)(request, timeout=within_s, metadata=self._metadata)
        except grpc.RpcError as exc:
            raise _failure(exc, name, self._target) from exc

    def stream(self, name: str, request: Any, *, within_s: float) -> Iterator[Any]:
        """Call an RPC that answers with a stream, by its name.

        Raises:
            CommandError: as of a call; also in the midst of it.
        """
        try:
            yield from getattr(self._stub, name)(request, timeout=within_s, metadata=self._metadata)
        except grpc.RpcError as exc:
            raise _failure(exc, name, self._target) from exc


def connected(command: Callable[..., int]) -> Callable[..., None]:
    """Give a command, whose first argument is a `Line`, the options that make one."""

    @wraps(command)
    def run(**values: Any) -> int:
        files = TlsFiles(values.pop("tls_ca"), values.pop("tls_cert"), values.pop("tls_key"))
        key = _key(values.pop("key"), values.pop("key_file"))
        line = Line(values.pop("url"), key, files, insecure=values.pop("insecure_token"), as_json=values.pop("as_json"))
        return command(line, **values)

    own = list(inspect.signature(command).parameters.values())[1:]
    options = inspect.signature(_options).parameters.values()
    every = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *options)]
    ready: Any = guarded(run)
    # Read by typer, in place of those of `command`.
    ready.__signature__ = inspect.Signature(every)
    ready.__annotations__ = {parameter.name: parameter.annotation for parameter in every}
    del ready.__wrapped__
    return ready  # type: ignore[no-any-return]


def _options(
    url: Url = DEFAULT_ADMIN,
    key: Key = "",
    key_file: KeyFile = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    insecure_token: InsecureToken = False,
    as_json: Json = False,
) -> None:
    """What every command of this room can be told."""


def _key(key: str, file: Path | None) -> str:
    if key or file is None:
        return key.strip()
    with file.open(encoding="ascii", errors="replace") as text:
        return text.read(_KEY_CHARS_MAX + 1).strip()


def _failure(exc: Any, name: str, target: str) -> CommandError:
    """What an RPC ended with, for people."""
    status = exc.code()
    told = dict(exc.trailing_metadata() or ())
    code, text = told.get("runcast-code"), (exc.details() or "").strip()
    if code:
        message = text.removeprefix(f"{code}: ")
        if code == "unauthenticated":
            message = "the key is not accepted; give one of the auth file's [[admins]] by RUNCAST_ADMIN_KEY or --key-file"
        return CommandError(str(code), message)
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return CommandError("unimplemented", f"what answers at {target} has no {name}; is it an admin process of this version?")
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        late = f"{target} did not answer in time; what was asked may have been done: see `runcast admin audit`"
        return CommandError("timeout", late, status=TIMED_OUT)
    if status is grpc.StatusCode.UNAVAILABLE:
        if "CERTIFICATE_VERIF" in text:  # as gRPC cuts it
            return CommandError("untrusted", f"the certificate at {target} is of no authority that is believed; give that one by --tls-ca")
        away = f"no admin process answers at {target} ({text[:200]}); start one with `runcast up`, or give --url"
        return CommandError("unreachable", away)
    return CommandError(status.name.lower(), text[:200] or "the call failed")
