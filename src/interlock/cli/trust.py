"""`interlock trust`: which CI jobs a server gives tokens to, without a stored secret."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import view
from interlock.cli.token import Json, RoleName, Store
from interlock.errors import UsageError

if TYPE_CHECKING:
    from interlock.server.identity.platforms import Platform
    from interlock.server.identity.rules import TrustRule

app = typer.Typer(help="Which CI jobs get tokens of a server, by ids in their identity tokens.", no_args_is_help=True)


class PlatformName(StrEnum):
    """Whose identity tokens."""

    github = "github"
    gitlab = "gitlab"
    azure = "azure"
    azure_entra = "azure-entra"
    person = "person"
    other = "other"


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="By which you will find the rule.")],
    *,
    platform: Annotated[PlatformName, typer.Option("--platform", help="Whose identity tokens.")],
    claim: Annotated[
        list[str], typer.Option("--claim", metavar="NAME=VALUE", help="What the token must say; again for another.")
    ],
    role: Annotated[
        RoleName, typer.Option("--role", help="What it may do: a job reader, planner or runner; a person any.")
    ],
    states: Annotated[str, typer.Option("--states", metavar="GLOB", help="To which states.")],
    issuer: Annotated[
        str | None, typer.Option("--issuer", metavar="URL", help="Who signs; needed but for github.com and gitlab.com.")
    ] = None,
    audience: Annotated[
        str | None, typer.Option("--audience", metavar="TEXT", help="By default the server's own address.")
    ] = None,
    keys_url: Annotated[
        str | None, typer.Option("--keys-url", metavar="URL", help="Where the keys are, if discovery does not say.")
    ] = None,
    algorithm: Annotated[
        list[str] | None, typer.Option("--algorithm", metavar="NAME", help="What it signs with; RS256 by default.")
    ] = None,
    account: Annotated[
        list[str] | None,
        typer.Option(
            "--account",
            metavar="ACCOUNT",
            help="Another account of the one person whom the rule names, such as github:583231; again for another.",
        ),
    ] = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """Let jobs that match get a token for their own state, for 15 minutes at a time."""
    from interlock.compose.trust import add as run
    from interlock.rights import Role
    from interlock.server.identity.platforms import PLATFORMS, Platform
    from interlock.server.identity.rules import Issuer, TrustRule, of_accounts

    chosen = Platform(platform.value)
    facts = PLATFORMS[chosen]
    asked = TrustRule(
        name=name,
        platform=chosen,
        issuer=Issuer(
            url=_issuer(chosen, issuer or facts.issuer),
            audience=facts.audience if audience is None else audience,
            keys_url=keys_url or "",
            algorithms=tuple(algorithm or ("RS256",)),
        ),
        claims=_claims(claim),
        role=Role(role.value),
        states=states,
    )
    added, warnings = asyncio.run(run(store, of_accounts(asked, account or ())))
    for warning in warnings:
        view.note(warning)
    human = f"trust rule {added.name}: {_short(added)} may be {added.role.value} of {added.states}"
    view.emit({**_values(added), "warnings": warnings}, json=json, human=lambda: view.say(human))


@app.command("ls")
def list_(*, store: Store = None, json: Json = False) -> None:
    """List trust rules."""
    from interlock.compose.trust import list_rules

    listed = asyncio.run(list_rules(store))
    for each in listed.unreadable:
        view.note(f"trust rule {each[:64]!a} cannot be read; it lets nobody in")
    headings = ("NAME", "PLATFORM", "CLAIMS", "ROLE", "STATES")
    rows = [(rule.name, rule.platform.value, _short(rule), rule.role.value, rule.states) for rule in listed.rules]
    view.emit(
        {"rules": [_values(rule) for rule in listed.rules], "unreadable": listed.unreadable},
        json=json,
        human=lambda: view.table(headings, rows, empty="there are no trust rules"),
    )


@app.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `interlock trust ls` shows it.")],
    *,
    store: Store = None,
    json: Json = False,
) -> None:
    """Take a rule away; tokens that it gave are not renewed any more."""
    from interlock.compose.trust import remove as run

    asyncio.run(run(store, name))
    view.emit({"removed": name}, json=json, human=lambda: view.say(f"trust rule {name} is removed"))


def _issuer(platform: Platform, url: str) -> str:
    if url:
        return url
    from interlock.server.identity.platforms import Platform

    examples = {
        Platform.AZURE: "https://vstoken.dev.azure.com/ORGANIZATION_UUID",
        Platform.AZURE_ENTRA: "https://login.microsoftonline.com/TENANT_UUID/v2.0",
    }
    example = examples.get(platform, "https://HOST")
    raise UsageError(
        f"{platform.value} has no issuer for all", why="each customer has their own", fix=f"add --issuer {example}"
    )


def _claims(given: list[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise UsageError(f"{each[:80]!a} is not NAME=VALUE", fix="write it like --claim repository_id=123456789")
        found[name] = (*found.get(name, ()), value)
    return found


def _short(rule: TrustRule) -> str:
    return " ".join(f"{name}={'|'.join(values)}" for name, values in rule.claims.items())


def _values(rule: TrustRule) -> dict[str, object]:
    return {
        "name": rule.name,
        "platform": rule.platform.value,
        "issuer": rule.issuer.url,
        "audience": rule.issuer.audience,
        "keys_url": rule.issuer.keys_url,
        "algorithms": rule.issuer.algorithms,
        "claims": rule.claims,
        "role": rule.role.value,
        "states": rule.states,
        "accounts": rule.accounts,
        "made_by": rule.made_by,
        "made_at": rule.made_at,
    }
