"""`runcast key`: an API key for an agent, and the line for the auth file that believes it."""

import secrets
from typing import Final

import typer

from runcast.cli.failures import NOT_BEGUN, CommandError, guarded

EXAMPLES: Final = """
Examples:

  runcast key analyst
      an [[agents]] entry for the auth file, and the key, which is shown this once

  runcast key analyst --tenant acme --group support
      one that may reach the users of one tenant, and receive for one group
"""
_ID_BYTES: Final = 5


@guarded
def key(
    name: str = typer.Argument(..., help="The agent's name in the auth file."),
    tenant: list[str] = typer.Option(["*"], "--tenant", help="Whose users it may reach; may be given several times."),
    group: list[str] = typer.Option([], "--group", help="Inbox group that it may receive for; the same."),
) -> int:
    """Make an API key for an agent."""
    import tomllib  # noqa: PLC0415 # with cryptography, below: most commands do without

    import msgspec  # noqa: PLC0415

    from runcast.bus.identity.agents import Agent, make_agents  # noqa: PLC0415
    from runcast.bus.identity.apikeys import SECRET_BYTES, make_key  # noqa: PLC0415

    made = make_key(secrets.token_hex(_ID_BYTES), secrets.token_bytes(SECRET_BYTES))
    values = {"name": name, "keys": [made.kept], "tenants": tenant, "groups": group}
    text = "\n".join(["[[agents]]", *(f"{field} = {msgspec.json.encode(value).decode()}" for field, value in values.items())])
    problems: list[str] = []
    try:
        make_agents([msgspec.convert(tomllib.loads(text)["agents"][0], Agent)], (), problems)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as exc:
        problems.append(str(exc))
    if problems:
        raise CommandError("agent_invalid", "; ".join(problems), status=NOT_BEGUN)
    print(f"{text}\n\n# For the agent alone; it is kept nowhere:\n# {made.text}")
    return 0


key.__doc__ = f"{key.__doc__}\n\n\b{EXAMPLES}"
