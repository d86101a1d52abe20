"""`runcast token`: a token for development and tests, on stdout, alone, so that a shell can pass it on."""

import secrets
import time
from pathlib import Path
from typing import Final

import typer

from runcast.cli.failures import NOT_BEGUN, CommandError, guarded
from runcast.wire.errors import IdInvalidError
from runcast.wire.ids import UserKey, check_id

EXAMPLES: Final = """
Examples:

  runcast token --user alice
      for RUNCAST_AUTH=dev: it proves nothing, and loopback believes it

  runcast token --user alice --auth-file auth.toml --lifetime 600
      a JWT, signed with the secret in the auth file; good for ten minutes

  runcast token --user alice --auth-file auth.toml --lifetime -60
      one that is over, to see what your page does with it

Issuers with a public key or a key set make their tokens themselves: nobody else can.
"""


@guarded
def token(
    user: str = typer.Option(..., "--user", "-u", help="Id of the user."),
    tenant: str = typer.Option("", "--tenant", help="Id of the tenant. Default: the issuer's, or 'default'."),
    auth_file: Path | None = typer.Option(None, "--auth-file", envvar="RUNCAST_AUTH_FILE", help="Make a JWT that this file believes."),
    issuer: str = typer.Option("", "--issuer", help="Name of the issuer in it; needed when several have a secret."),
    lifetime_s: float = typer.Option(3600.0, "--lifetime", help="Seconds that it counts."),
) -> int:
    """Make a token for development and tests."""
    try:
        key = UserKey(check_id(tenant or "default", "tenant"), check_id(user, "user"))
    except IdInvalidError as exc:
        raise CommandError(exc.code.name, exc.message, status=NOT_BEGUN) from exc
    if auth_file is None:
        print(f"dev.{key.token}")
        return 0
    # Imported late: cryptography takes its time, and most commands do without.
    from runcast.bus.identity.authfile import AuthFileError, read_authfile  # noqa: PLC0415
    from runcast.bus.identity.mint import NotMintedError, mint  # noqa: PLC0415

    try:
        file = read_authfile(auth_file)
        made = mint(
            file, issuer=issuer, user=user, tenant=tenant, lifetime_s=lifetime_s, now=time.time(), token_id=secrets.token_urlsafe(12)
        )
    except (AuthFileError, NotMintedError) as exc:
        raise CommandError("auth_file", str(exc), status=NOT_BEGUN) from exc
    print(made)
    return 0


token.__doc__ = f"{token.__doc__}\n\n\b{EXAMPLES}"
