"""`interlock organisation`: the Genesys Cloud organisations whose OAuth clients a server keeps."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import view
from interlock.errors import UsageError

if TYPE_CHECKING:
    from interlock.api.organisations import ToldOrganisation

app = typer.Typer(help="Organisations whose OAuth clients a server keeps, encrypted.", no_args_is_help=True)

_SECRET = "GENESYSCLOUD_OAUTHCLIENT_SECRET"  # noqa: S105 - a variable's name
_SECRET_MAX = 4096

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Store = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="The server's store, as serve has it; by default the home's file."),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="What you call the organisation.")]


@app.command()
def add(
    name: Name,
    *,
    region: Annotated[str, typer.Option("--region", metavar="REGION", help="Such as eu-central-1.")],
    client_id: Annotated[str, typer.Option("--client-id", metavar="ID", help="Its OAuth client.")],
    states: Annotated[
        list[str],
        typer.Option("--states", metavar="GLOB", help="Its states: `*` within a part, `**` across parts. Repeatable."),
    ],
    budget: Annotated[
        list[str] | None, typer.Option("--budget", metavar="NAME=N/SECONDSs", help="A limit of your own. Repeatable.")
    ] = None,
    upstream_api: Annotated[
        str | None, typer.Option("--upstream-api", metavar="URL", help="API, instead of the region's host.")
    ] = None,
    upstream_login: Annotated[
        str | None, typer.Option("--upstream-login", metavar="URL", help="Login service, instead of the region's.")
    ] = None,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Log in with the client first.")] = True,
    store: Store = None,
    json: Json = False,
) -> None:
    """Keep the OAuth client of an organisation. The secret is asked for, or read from stdin or the environment."""
    from interlock.api.organisations import NewOrganisation
    from interlock.compose.organisations import add as run

    if (upstream_api is None) != (upstream_login is None):
        raise UsageError("only one upstream is given", why="the API and the login service are two", fix="give both")
    upstream = (upstream_api, upstream_login) if upstream_api and upstream_login else None
    asked = NewOrganisation(
        name=name, region=region, client_id=client_id, secret=_secret(), states=states, budgets=budget or []
    )
    made = asyncio.run(run(store, asked, upstream=upstream, check=check))
    view.emit(
        made, json=json, human=lambda: view.say(f"organisation {made.name} is kept, for {', '.join(made.states)}")
    )


@app.command("ls")
def list_(*, store: Store = None, json: Json = False) -> None:
    """List organisations, without their secrets."""
    from interlock.compose.organisations import list_organisations

    found = asyncio.run(list_organisations(store))
    headings = ("NAME", "REGION", "CLIENT", "STATES", "ADDED", "ROTATED")
    view.emit(
        found,
        json=json,
        human=lambda: view.table(headings, map(_row, found.organisations), empty="there are no organisations"),
    )


@app.command()
def rotate(
    name: Name,
    *,
    client_id: Annotated[
        str, typer.Option("--client-id", metavar="ID", help="Another OAuth client; by default the same.")
    ] = "",
    store: Store = None,
    json: Json = False,
) -> None:
    """Replace the secret of an organisation's OAuth client. Runs go on: the server's gateway takes the new one."""
    from interlock.api.organisations import NewClient
    from interlock.compose.organisations import rotate as run

    done = asyncio.run(run(store, name, NewClient(secret=_secret(), client_id=client_id)))
    view.emit(done, json=json, human=lambda: view.say(f"organisation {done.name} has its new secret"))


@app.command()
def remove(name: Name, *, store: Store = None, json: Json = False) -> None:
    """Forget an organisation and its OAuth client. Its runs are refused by the gateway from then on."""
    from interlock.compose.organisations import remove as run

    asyncio.run(run(store, name))
    view.emit({"name": name}, json=json, human=lambda: view.say(f"organisation {name} is forgotten"))


def _secret() -> str:
    """Return the secret from the environment, the terminal or stdin: a command line is seen by everybody."""
    if found := os.environ.get(_SECRET):
        return found
    if sys.stdin.isatty():
        question = "secret of the OAuth client:"
        return view.answered(question, lambda: view.prompt(question), hidden=True)
    found = sys.stdin.readline(_SECRET_MAX).strip()
    if not found:
        raise UsageError(
            "no secret was given", why="it comes by stdin, a prompt or the environment", fix=f"set {_SECRET}"
        )
    return found


def _row(found: ToldOrganisation) -> tuple[str, ...]:
    rotated = "" if found.rotated_at is None else view.instant(found.rotated_at)
    states = ", ".join(found.states)
    return (found.name, found.region, found.client_id, states, view.instant(found.made_at), rotated)
