"""`interlock hook`: whose comments on pull requests approve and reject at a server."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import view
from interlock.cli.token import Json, Store
from interlock.errors import UsageError, command

if TYPE_CHECKING:
    from interlock.api.hooks import MadeHook, ToldHook

app = typer.Typer(help="Whose comments on pull requests approve and reject.", no_args_is_help=True)

_SET_UP = {
    "github": "in the repository's settings, Webhooks: content type application/json, the event Issue comments alone",
    "gitlab": "in the project's settings, Webhooks: the secret as the signing token, the trigger Comments alone",
}


class CodeHost(StrEnum):
    """Whose comments."""

    github = "github"
    gitlab = "gitlab"


Name = Annotated[str, typer.Argument(metavar="NAME", help="As `interlock hook ls` shows it.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of your choice for the hook.")],
    *,
    platform: Annotated[CodeHost, typer.Option("--platform", help="The code host of the repository.")],
    repository_id: Annotated[
        str, typer.Option("--repository-id", metavar="NUMBER", help="Id of the repository (GitLab: of the project).")
    ],
    states: Annotated[str, typer.Option("--states", metavar="GLOB", help="States whose requests may be decided.")],
    person: Annotated[
        list[str],
        typer.Option("--person", metavar="NUMBER=NAME", help="Id and name of an account that may decide. Repeatable."),
    ],
    store: Store = None,
    json: Json = False,
) -> None:
    """Let comments of these persons approve and reject. The secret for the code host is shown only once."""
    from interlock.api.hooks import NewHook
    from interlock.compose.hooks import add as run

    asked = NewHook(
        name=name, platform=platform.value, repository_id=repository_id, states=states, persons=_persons(person)
    )
    made, server = asyncio.run(run(store, asked))
    _tell(made, server, json=json)


@app.command("ls")
def list_(*, store: Store = None, json: Json = False) -> None:
    """List hooks, without their secrets."""
    from interlock.compose.hooks import list_hooks

    found = asyncio.run(list_hooks(store))
    for each in found.unreadable:
        view.note(f"hook {each[:64]!a} cannot be read, so nobody can decide through it")
    headings = ("NAME", "PLATFORM", "REPOSITORY", "STATES", "PERSONS", "ADDED")
    view.emit(
        found,
        json=json,
        human=lambda: view.table(headings, [_row(each) for each in found.hooks], empty="there are no hooks"),
    )


@app.command()
def change(
    name: Name,
    *,
    states: Annotated[
        str | None,
        typer.Option("--states", metavar="GLOB", help="States whose requests may be decided; unchanged by default."),
    ] = None,
    person: Annotated[
        list[str] | None,
        typer.Option(
            "--person",
            metavar="NUMBER=NAME",
            help="Replaces all persons who may decide; unchanged by default. Repeatable.",
        ),
    ] = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """Change the persons or the states. Repository and secret stay; earlier comments no longer count."""
    from interlock.compose.hooks import change as run

    changed = asyncio.run(run(store, name, states=states, persons=_persons(person) if person else None))
    human = f"hook {changed.name}: comments of {_people(changed)} decide requests of {changed.states}"
    view.emit(_values(changed), json=json, human=lambda: view.say(human))


@app.command()
def rotate(name: Name, *, store: Store = None, json: Json = False) -> None:
    """Make a new secret, shown only once. The old one is refused from then on."""
    from interlock.compose.hooks import rotate as run

    made, server = asyncio.run(run(store, name))
    _tell(made, server, json=json)


@app.command()
def remove(name: Name, *, store: Store = None, json: Json = False) -> None:
    """Remove a hook. Earlier approvals stay valid."""
    from interlock.compose.hooks import remove as run

    asyncio.run(run(store, name))
    view.emit({"removed": name}, json=json, human=lambda: view.say(f"hook {name} is removed"))


def _persons(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in given:
        person_id, _, name = each.partition("=")
        if person_id in found:
            raise UsageError(f"{person_id[:40]!a} is named twice", fix="name each person once")
        found[person_id] = name
    return found


def _tell(made: MadeHook, server: str, *, json: bool) -> None:
    url = (server or "SERVER").rstrip("/") + made.about.path
    view.tell_of_open_file()
    view.emit({**_values(made.about), "url": url, "secret": made.secret}, json=json, human=lambda: _say(made, url))


def _say(made: MadeHook, url: str) -> None:
    about = made.about
    view.say(
        f"hook {about.name}: comments of {_people(about)} on pull requests of {_repository(about)} decide requests"
    )
    view.say(f"  states  {about.states}")
    view.say(f"  url     {url}")
    if made.secret:
        view.say(f"  secret  {made.secret}")
        view.note("the secret is shown only once")
    else:
        view.note("the hook exists already; its secret cannot be shown again")
        view.note(f"next: {command('hook', 'rotate', about.name)}    makes a new one")
    view.note(f"at {about.platform}: {_SET_UP[about.platform]}")


def _people(hook: ToldHook) -> str:
    return ", ".join(name or person_id for person_id, name in hook.persons.items())


def _repository(hook: ToldHook) -> str:
    return f"{hook.platform} {hook.repository_id}"


def _row(hook: ToldHook) -> tuple[str, ...]:
    people = ", ".join(f"{person_id}={name}" if name else person_id for person_id, name in hook.persons.items())
    return (hook.name, hook.platform, hook.repository_id, hook.states, people, view.instant(hook.made_at))


def _values(hook: ToldHook) -> dict[str, object]:
    return {
        "name": hook.name,
        "platform": hook.platform,
        "repository_id": hook.repository_id,
        "states": hook.states,
        "persons": hook.persons,
        "made_by": hook.made_by,
        "made_at": hook.made_at,
        "rotated_at": hook.rotated_at,
        "changed_at": hook.changed_at,
    }
