"""`runcast key`: an API key for an agent or an operator, and the entry for the auth file; or a key for what is stored of a tenant."""

import secrets
from typing import Final

import typer

from runcast.cli.failures import NOT_BEGUN, CommandError, guarded

# Brackets are escaped: help is rich markup, which would take them for styles, and show nothing of them.
EXAMPLES: Final = """
Examples:

  runcast key analyst
      an [\\[agents]] entry for the auth file, and the key, which is shown this once

  runcast key analyst --tenant acme --group support
      one that may reach the users of one tenant, and receive for one group

  runcast key ops --role view,operate
      an [\\[admins]] entry, for an operator who may look and act

  runcast key --at-rest k1 --tenant acme
      a \\[tenants.acme] entry for the keys file: what is stored of that tenant is sealed; without --tenant: of all that have no keys
"""
_ID_BYTES: Final = 5


@guarded
def key(
    name: str = typer.Argument(..., help="The agent's or operator's name in the auth file; with --at-rest, the key's id in the keys file."),
    tenant: list[str] = typer.Option([], "--tenant", help="Whose users it may reach; may be given several times. Default: all."),
    group: list[str] = typer.Option([], "--group", help="Inbox group that it may receive for; the same."),
    role: str = typer.Option("", "--role", help="Make an operator's: view, or view,operate."),
    at_rest: bool = typer.Option(False, "--at-rest", help="A key for what is stored, instead of an agent's."),
) -> int:
    """Make an API key for an agent, with --role for an operator, or with --at-rest a key for what is stored."""
    if at_rest:
        return _key_at_rest(name, tenant or ["*"], group, role)
    import tomllib  # noqa: PLC0415 # with cryptography, below: most commands do without

    import msgspec  # noqa: PLC0415

    from runcast.bus.identity.admins import Admin, make_admins  # noqa: PLC0415
    from runcast.bus.identity.agents import Agent, make_agents  # noqa: PLC0415
    from runcast.bus.identity.apikeys import SECRET_BYTES, make_key  # noqa: PLC0415

    if role and (tenant or group):
        raise CommandError("usage", "--tenant and --group are for agents; operators have roles alone", status=NOT_BEGUN)
    made = make_key(secrets.token_hex(_ID_BYTES), secrets.token_bytes(SECRET_BYTES))
    section = "admins" if role else "agents"
    values: dict[str, object] = {"name": name, "keys": [made.kept]}
    values |= {"roles": [each.strip() for each in role.split(",")]} if role else {"tenants": tenant or ["*"], "groups": group}
    text = "\n".join([f"[[{section}]]", *(f"{field} = {msgspec.json.encode(value).decode()}" for field, value in values.items())])
    problems: list[str] = []
    try:
        table = tomllib.loads(text)[section][0]
        if role:
            make_admins([msgspec.convert(table, Admin)], make_agents([], (), problems), problems)
        else:
            make_agents([msgspec.convert(table, Agent)], (), problems)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as exc:
        problems.append(str(exc))
    if problems:
        raise CommandError(f"{section.removesuffix('s')}_invalid", "; ".join(problems), status=NOT_BEGUN)
    print(f"{text}\n\n# For the {'operator' if role else 'agent'} alone; it is kept nowhere:\n# {made.text}")
    return 0


def _key_at_rest(key_id: str, tenants: list[str], groups: list[str], role: str) -> int:
    import base64  # noqa: PLC0415 # as above
    import tempfile  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from runcast.bus.sealing.envelope import KEY_BYTES  # noqa: PLC0415
    from runcast.bus.sealing.keysfile import KeysFileError, read_keysfile  # noqa: PLC0415

    if groups or role or len(tenants) != 1:
        text = "a key at rest is for one tenant; leave --group and --role out, and give --tenant once"
        raise CommandError("key_invalid", text, status=NOT_BEGUN)
    tenant, quoted = (msgspec.json.encode(value).decode() for value in (tenants[0], key_id))
    secret = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    text = f'[tenants.{tenant}]\ncurrent = {quoted}\n[tenants.{tenant}.keys]\n{quoted} = "{secret}"'
    with tempfile.TemporaryDirectory() as directory:  # it is read as a router reads it
        path = Path(directory) / "keys.toml"
        path.write_text(text)
        try:
            read_keysfile(path)
        except KeysFileError as exc:
            raise CommandError("key_invalid", str(exc).replace(f"{path}: ", ""), status=NOT_BEGUN) from exc
    print(f"{text}\n\n# To change keys: add the new one everywhere, make it `current` everywhere, and remove the old one a day later.")
    return 0


key.__doc__ = f"{key.__doc__}\n\n\b{EXAMPLES}"
