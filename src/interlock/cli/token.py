"""`interlock token`: make, list and revoke the tokens of a server."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import view
from interlock.cli.secret_output import Out, secret_output, told

if TYPE_CHECKING:
    from interlock.server.identity.endpoints import TokenTold

app = typer.Typer(help="Who may use a server: tokens with a role and states.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Store = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", help="The server's store, as serve has it; by default the server, or the home's file."
    ),
]


class RoleName(StrEnum):
    """The roles, as they are typed; each may do what the one before it may, and more."""

    reader = "reader"
    planner = "planner"
    runner = "runner"
    operator = "operator"
    admin = "admin"


@app.command()
def create(
    *,
    role: Annotated[RoleName, typer.Option("--role", help="What it may do.")],
    states: Annotated[
        str, typer.Option("--states", metavar="GLOB", help="To which states: `*` within a part, `**` across parts.")
    ] = "**",
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="DURATION", help="When it ends, such as 90d; never by default.")
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Who or what it is for.")] = "",
    person: Annotated[
        list[str] | None,
        typer.Option(
            "--person",
            metavar="NAME",
            help="Whose it is: a name, or an account such as github:583231; again for another account of theirs. "
            "So Interlock can tell them from who asks for approval.",
        ),
    ] = None,
    out: Out = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """Make a token and print it. It is told this once: the store keeps only its digest."""
    from interlock.compose.tokens import create as run
    from interlock.rights import Role
    from interlock.settings.values import parse_duration

    lifetime_s = None if expires is None else parse_duration(expires)
    with secret_output(out) as write:
        token, text = asyncio.run(
            run(store, Role(role.value), states=states, note=note, lifetime_s=lifetime_s, person=person or ())
        )
        if write is not None:
            write(f"{text}\n".encode())
    values = told({"token": text, **_values(token)}, "token", out)
    view.emit(values, json=json, human=lambda: _tell(text, token, out))


@app.command("ls")
def list_(*, store: Store = None, json: Json = False) -> None:
    """List tokens, without their secrets."""
    from interlock.compose.tokens import list_tokens

    listed = asyncio.run(list_tokens(store))
    tokens = listed.tokens
    for each in listed.unreadable:
        view.note(f"token {each[:40]!a} cannot be read; it lets nobody in")
    headings = ("ID", "ROLE", "STATES", "PERSON", "NOTE", "EXPIRES", "LAST USED", "REVOKED")
    view.emit(
        {"tokens": [_values(token) for token in tokens], "unreadable": listed.unreadable},
        json=json,
        human=lambda: view.table(headings, map(_row, tokens), empty="there are no tokens"),
    )


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `interlock token ls` shows it.")],
    *,
    store: Store = None,
    json: Json = False,
) -> None:
    """End a token, from the next request on."""
    from interlock.compose.tokens import revoke as run

    token = asyncio.run(run(store, token_id))
    view.emit(_values(token), json=json, human=lambda: view.say(f"token {token.id} is revoked"))


def _tell(text: str, token: TokenTold, out: Path | None) -> None:
    view.say(text if out is None else f"wrote token {token.id} to {out}; only you can read it")
    ends = "for good" if token.expires_at is None else f"until {view.instant(token.expires_at)}"
    view.note(f"{token.role.value} of {token.states} {ends}; it is shown this once. Set TF_HTTP_PASSWORD to it")


def _row(token: TokenTold) -> tuple[str, ...]:
    instants = (token.expires_at, token.used_at, token.revoked_at)
    shown = ["" if at is None else view.instant(at) for at in instants]
    return (token.id, token.role.value, token.states, ", ".join(token.person), token.note, *shown)


def _values(token: TokenTold) -> dict[str, object]:
    return {
        "id": token.id,
        "role": token.role.value,
        "states": token.states,
        "note": token.note,
        "person": token.person,
        "made_by": token.made_by,
        "made_at": token.made_at,
        "expires_at": token.expires_at,
        "used_at": token.used_at,
        "revoked_at": token.revoked_at,
        "rule": token.rule,
        "run": token.run,
    }
