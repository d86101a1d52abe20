"""The commands of `runcast admin`.

Exit statuses: 0 done; 1 refused, or it failed; 2 it could not begin; 3 no answer in time.
"""

import re
import sys
from typing import Annotated, Any, Final

import msgspec
import typer
from google.protobuf.message import Message
from rich.console import Console

from runcast.cli.admin import forms
from runcast.cli.admin.line import Line, connected
from runcast.cli.failures import NOT_BEGUN, CommandError
from runcast.cli.typed import program
from runcast.testkit.gist import plain
from runcast.v1 import admin_pb2 as pb
from runcast.v1.event_pb2 import User

HELP: Final = """What operators look at and do, by an admin process.

\b
  runcast admin status                            every process and stream
  runcast admin who alice --tenant acme           the devices of a user
  runcast admin disconnect --user alice           close connections
  runcast admin revoke --agent analyst --for 1h   close them, and keep out
  runcast admin revocations                       who is kept out
  runcast admin lift ID                           let in again
  runcast admin erase --user alice                remove all that is stored of a user
  runcast admin audit                             what operators did

Your key: RUNCAST_ADMIN_KEY, or --key-file. Where it is: --url, or RUNCAST_ADMIN_URL; on this machine, nothing need be said.
"""
ERASE_S: Final = 120.0
"""For an erasure, which looks for what it removed until nothing is left."""
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

Tenant = Annotated[str, typer.Option("--tenant", help="The user's tenant.")]
UserOption = Annotated[str, typer.Option("--user", "-u", help="A user.")]
Device = Annotated[str, typer.Option("--device", help="One device of that user.")]
TokenId = Annotated[str, typer.Option("--token-id", help="The holder of one token: a JWT's jti, or the id of an agent's API key.")]
Agent = Annotated[str, typer.Option("--agent", help="An agent of the auth file, by its name there.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit log, and told to whom it concerns. At most 100 bytes.")]

app = typer.Typer(no_args_is_help=True, help=HELP, rich_markup_mode="rich")


@app.command()
@connected
def status(line: Line) -> int:
    """Show the state of the deployment: its processes, what they depend on, its streams."""
    with line.open() as call:
        answer: pb.GetStatusResponse = call("GetStatus", pb.GetStatusRequest())
    if line.as_json:
        return _print_json(answer)
    console = _console()
    nats = f"NATS {answer.nats_server_version}, {answer.shards} shards" if answer.shards else "NATS not connected"
    console.print(plain(f"{answer.id}, version {answer.version}, {nats}"), markup=False, highlight=False)
    for made in (forms.dependencies(answer), forms.processes(answer), forms.streams(answer)):
        if made.row_count:
            console.print()
            console.print(made)
    if answer.parked:
        console.print(f"\n{answer.parked:,} messages of users were put aside: no worker settled them (stream RUNCAST_PARKED)")
    return 0


@app.command()
@connected
def who(line: Line, user: Annotated[str, typer.Argument(help="A user's id.")], tenant: Tenant = "default") -> int:
    """Show which devices of a user are connected just now."""
    with line.open() as call:
        answer: pb.GetPresenceResponse = call("GetPresence", pb.GetPresenceRequest(user=User(tenant=tenant, id=user)))
    if line.as_json:
        return _print_json(answer)
    if not answer.edges:
        print(f"no device of {plain(tenant)}/{plain(user)} is connected")
        return 0
    made = forms.table("edge", "device")
    for edge in answer.edges:
        for device in edge.devices:
            made.add_row(forms.cell(edge.edge), forms.cell(device))
    _console().print(made)
    return 0


@app.command()
@connected
def disconnect(
    line: Line,
    user: UserOption = "",
    device: Device = "",
    tenant: Tenant = "default",
    token_id: TokenId = "",
    agent: Agent = "",
    reason: Reason = "",
) -> int:
    """Close connections; they may come back at once."""
    target = make_target(user, device, tenant, token_id, agent)
    with line.open() as call:
        answer: pb.DisconnectResponse = call("Disconnect", pb.DisconnectRequest(target=target, reason=reason))
    if line.as_json:
        return _print_json(answer)
    print(f"{answer.connections} connections of {plain(forms.target_words(target))} were closed, by {answer.processes} processes")
    return 0


@app.command()
@connected
def revoke(
    line: Line,
    user: UserOption = "",
    device: Device = "",
    tenant: Tenant = "default",
    token_id: TokenId = "",
    agent: Agent = "",
    lasts: Annotated[str, typer.Option("--for", help="How long, such as 90s, 15m, 12h or 7d. Without: as long as can be.")] = "",
    until_new_token: Annotated[bool, typer.Option("--until-new-token", help="Of a user: who logs in anew gets in again.")] = False,
    reason: Reason = "",
) -> int:
    """Close connections, and keep whoever it names from coming back."""
    target = make_target(user, device, tenant, token_id, agent)
    request = pb.RevokeRequest(target=target, reason=reason, lasts_s=read_duration(lasts), until_new_token=until_new_token)
    with line.open() as call:
        answer: pb.RevokeResponse = call("Revoke", request)
    if line.as_json:
        return _print_json(answer)
    print(f"{plain(forms.target_words(target))} is kept out; {answer.connections} connections were closed")
    _console().print(forms.revocations([answer.revocation]))
    print(f"Let in again: {program()} admin lift {plain(answer.revocation.id)}")
    return 0


@app.command()
@connected
def lift(line: Line, name: Annotated[str, typer.Argument(metavar="ID", help="As `revocations` lists it.")], reason: Reason = "") -> int:
    """End a revocation before its time."""
    with line.open() as call:
        answer: pb.LiftResponse = call("Lift", pb.LiftRequest(id=name, reason=reason))
    if line.as_json:
        return _print_json(answer)
    if not answer.found:
        raise CommandError("not_found", f"no revocation {plain(name)!r} is in force; `runcast admin revocations` lists them")
    print(f"{plain(name)} is lifted")
    return 0


@app.command()
@connected
def revocations(line: Line) -> int:
    """Show who is kept out."""
    with line.open() as call:
        answer: pb.ListRevocationsResponse = call("ListRevocations", pb.ListRevocationsRequest())
    if line.as_json:
        return _print_json(answer)
    if answer.revocations:
        _console().print(forms.revocations(list(answer.revocations)))
    else:
        print("nobody is kept out")
    return 0


@connected
def erase(
    line: Line,
    user: Annotated[str, typer.Option("--user", "-u", help="The user.")],
    tenant: Tenant = "default",
    reason: Reason = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask first.")] = False,
) -> int:
    """Remove all that is stored of a user, and see that it is gone. It can't be undone."""
    if not yes:
        if not sys.stdin.isatty():
            raise CommandError("usage", "it can't be undone; add --yes where nobody can be asked", status=NOT_BEGUN)
        typer.confirm(f"Remove all that is stored of {plain(tenant)}/{plain(user)}? It can't be undone", abort=True, err=True)
    with line.open() as call:
        answer: pb.EraseResponse = call("Erase", pb.EraseRequest(user=User(tenant=tenant, id=user), reason=reason), within_s=ERASE_S)
    if line.as_json:
        return _print_json(answer)
    made = forms.table("where", "removed", right=("removed",))
    for where, count in sorted(answer.removed.items()):
        made.add_row(forms.cell(where), f"{count:,}")
    _console().print(made)
    print(f"nothing of {plain(tenant)}/{plain(user)} is left; {answer.connections} connections were closed")
    return 0


app.command()(erase)


@app.command()
@connected
def audit(line: Line, count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many, the newest.")] = 50) -> int:
    """Show what operators did, and were refused; the newest last."""
    with line.open() as call:
        answer: pb.ListAuditResponse = call("ListAudit", pb.ListAuditRequest(count=count))
    if line.as_json:
        for entry in answer.entries:
            print(msgspec.json.encode(forms.to_data(entry)).decode())
        return 0
    if answer.entries:
        _console().print(forms.audit(list(answer.entries)))
    else:
        print("the audit log is empty")
    return 0


def make_target(user: str, device: str, tenant: str, token_id: str, agent: str) -> pb.Target:
    """Whom the options name.

    Raises:
        CommandError: nobody, or several.
    """
    if sum(map(bool, (user, token_id, agent))) != 1 or (device and not user):
        raise CommandError("usage", "say whom: --user (and --device), or --token-id, or --agent; one of them", status=NOT_BEGUN)
    if device:
        return pb.Target(device=pb.UserDevice(user=User(tenant=tenant, id=user), device=device))
    if user:
        return pb.Target(user=User(tenant=tenant, id=user))
    return pb.Target(token_id=token_id) if token_id else pb.Target(agent=agent)


def read_duration(text: str) -> int:
    """Seconds of `90s`, `15m`, `12h`, `7d`; 0 of "".

    Raises:
        CommandError: it is none of them.
    """
    if not text:
        return 0
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text, re.ASCII)
    if match is None:
        raise CommandError("usage", f"--for {text!r}: write it like 90s, 15m, 12h or 7d", status=NOT_BEGUN)
    return int(match[1]) * _UNITS[match[2]]


def _print_json(answer: Message) -> int:
    data: dict[str, Any] = forms.to_data(answer)
    print(msgspec.json.format(msgspec.json.encode(data)).decode())
    return 0


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=200)
