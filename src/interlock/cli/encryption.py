"""`interlock encryption`: the keys that encrypt what a store keeps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.amounts import amount
from interlock.cli import view
from interlock.cli.secret_output import Out, secret_output, told
from interlock.errors import command

if TYPE_CHECKING:
    from interlock.compose.encryption import EncryptionStatus

app = typer.Typer(help="The keys that encrypt what a store keeps.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Store = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="The store, as serve has it; by default the home's file."),
]


@app.command("new-key")
def new_key(*, out: Out = None, json: Json = False) -> None:
    """Make a new key. Keep it outside the store and its backups: without it nothing that is encrypted can be read."""
    from interlock.compose.encryption import new_key as run

    key = run()
    with secret_output(out) as write:
        if write is not None:
            write(f"{key}\n".encode())
    human = key if out is None else f"wrote a new key to {out}; only you can read it"
    view.emit(told({"key": key}, "key", out), json=json, human=lambda: view.say(human))


@app.command()
def status(*, store: Store = None, json: Json = False) -> None:
    """Say which keys open the store, and how much in it is encrypted."""
    from interlock.compose.encryption import status as run

    found = asyncio.run(run(store))
    view.emit(_values(found), json=json, human=lambda: _show(found))


@app.command()
def rotate(*, store: Store = None, json: Json = False) -> None:
    """Let the first of the given keys open the store too, and seal with a new data key from now on.

    Name the new key and then the old one, divided by space. Servers that only have the old key go on working.
    """
    from interlock.compose.encryption import rotate as run

    done = asyncio.run(run(store))
    view.emit(_values(done), json=json, human=lambda: _show(done))


@app.command()
def retire(
    key: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `interlock encryption status` shows it.")],
    *,
    store: Store = None,
    json: Json = False,
) -> None:
    """Let a key open the store no longer, once every server has the new one."""
    from interlock.compose.encryption import retire as run

    done = asyncio.run(run(store, key))
    view.emit(_values(done), json=json, human=lambda: _show(done))


@app.command()
def rewrite(*, store: Store = None, json: Json = False) -> None:
    """Encrypt what is still in clear, or by an older data key. It goes on where it was stopped."""
    from interlock.compose.encryption import rewrite as run

    def told(done: int) -> None:
        if not done % 100:
            view.note(f"{done} written")

    done = asyncio.run(run(store, told))
    view.emit(_values(done), json=json, human=lambda: _show(done))


def _show(found: EncryptionStatus) -> None:
    if not found.is_encrypted:
        view.say("the store is not encrypted")
        view.note(f"a key encrypts it: {command('encryption', 'new-key', '--out', 'master.key')}")
        return
    view.say(f"key {' or '.join(found.masters)} opens the store")
    view.say(f"data key {found.data_key} seals; there are {amount(found.data_keys, 'data key')}")
    if found.tally is not None:
        tally = found.tally
        view.say(f"{tally.current} stored under it, {tally.older} under older ones, {tally.clear} in clear")


def _values(found: EncryptionStatus) -> dict[str, object]:
    tally = found.tally
    return {
        "encrypted": found.is_encrypted,
        "keys": found.masters,
        "data_key": found.data_key,
        "data_keys": found.data_keys,
        "stored": None if tally is None else {"current": tally.current, "older": tally.older, "clear": tally.clear},
    }
