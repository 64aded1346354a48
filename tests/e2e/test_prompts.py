"""Every prompt of every command, answered with yes, no and Ctrl-C, and left by a terminal that is closed."""

import ast
import json
import os
import select
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.desk import STEP_S, Desk
from tests.e2e.test_cli_terminal import at_terminal

import interlock.cli
from interlock.coordinator.archive import Writer
from interlock.errors import InterlockError, StateInvalid
from interlock.lock import Requested
from interlock.testing.aws import LocalAws

pytestmark = [pytest.mark.e2e, pytest.mark.promise("P8", "P9")]

ONE = 'resource "terraform_data" "one" {}\n'
ASKS = """
variable "colour" {}
variable "password" {
  sensitive = true
}
resource "terraform_data" "one" { input = var.colour }
"""


def _applied(desk: Desk) -> Path:
    module = desk.module(text=ONE)
    assert desk.run("apply", module, "--state", "s", "--auto-approve").code == 0
    assert desk.run("apply", module, "--state", "s", "--auto-approve", "--", "-replace=terraform_data.one").code == 0
    return module


def _new(desk: Desk) -> None:
    desk.module(text=ONE)


def _state(serial: int, *names: str) -> bytes:
    provider = 'provider["terraform.io/builtin/terraform"]'
    head = {"mode": "managed", "type": "terraform_data", "provider": provider}
    rows = [{**head, "name": name, "instances": [{"schema_version": 0, "attributes": {"id": name}}]} for name in names]
    fields = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "l", "outputs": {}}
    return json.dumps({**fields, "resources": rows, "check_results": None}).encode()


def _pushed(desk: Desk, *bodies: bytes) -> None:
    for body in bodies:
        (desk.folder / "pushed.tfstate").write_bytes(body)
        assert desk.run("state", "push", "pushed.tfstate", "--state", "s").code == 0


def _versions(desk: Desk) -> None:
    _pushed(desk, _state(1, "a"), _state(2, "a", "b"), _state(3, "a", "b", "c"))


def _local(desk: Desk) -> None:
    (desk.module(text=ONE) / "terraform.tfstate").write_bytes(_state(1))


def _declared(desk: Desk) -> None:
    module = desk.module(text='terraform {\n  backend "local" {\n    path = "kept.tfstate"\n  }\n}\n' + ONE)
    (module / "kept.tfstate").write_bytes(_state(1))


def _held(desk: Desk) -> None:
    """Let somebody on another machine hold a lock without a sign of life."""
    _pushed(desk, _state(1, "a"))
    asked = Requested(ticket="r1", run="r1", who="bob@elsewhere", lease_s=1, patience_s=1)
    desk.ask(lambda home: home.coordinator.request("s", asked))


def _granted(desk: Desk, write: Callable[[Any, Writer], Awaitable[Any]], **right: Any) -> None:
    """Write as a run that has the lock, and end it."""

    async def act(home: Any) -> None:
        asked = Requested(ticket="r1", run="r1", who="ann@desk", lease_s=60, patience_s=40)
        standing = await home.coordinator.request("s", asked)
        with suppress(InterlockError):
            await write(home.archive, Writer(who="ann@desk", run="r1", ticket="r1", token=standing.token, **right))
        await home.coordinator.release("s", ticket="r1", token=standing.token)

    desk.ask(act)


def _suspect(desk: Desk) -> None:
    _pushed(desk, _state(1, "a", "b"))
    dropped = _state(2, "a")
    _granted(desk, lambda archive, right: archive.write("s", dropped, writer=right), **_KEPT)
    assert desk.run("state", "verify", "s").code == 0


_KEPT: dict[str, Any] = {"allowed_deletions": frozenset(), "keeps_suspect": True}


def _refused(desk: Desk) -> None:
    _pushed(desk, _state(4, "a"))
    error = StateInvalid("refused", why="a test")
    _granted(desk, lambda archive, right: archive.quarantine("s", _state(3, "b"), writer=right, error=error))


def _damaged(desk: Desk) -> None:
    _pushed(desk, _state(1, "a"))
    with closing(sqlite3.connect(desk.home / "interlock.db", isolation_level=None)) as connection:
        connection.execute("UPDATE records SET value = x'7b7d' WHERE key = 'state/s'")


def _emptied(desk: Desk) -> None:
    _pushed(desk, _state(1, *"abcdef"), _state(2))


class Prompt(NamedTuple):
    """One question.

    Attributes:
        asked_in: Where in `interlock.cli`, as `module.function`.
        before: What is done before.
        words: The command.
        declined: How it ends after a no.
        agreed: How it ends after a yes.
        first: 1 when a question comes before it, which is answered with yes.
        question: The end of the question.
    """

    asked_in: str
    before: Callable[[Desk], object]
    words: tuple[str, ...]
    declined: int = 0
    agreed: int = 0
    first: int = 0
    question: str = ""


_VERIFIED = ("--i-have-verified", "bob is on holiday", "--operator", "ann")
_KEEP_ONE = ("--keep", "1", "--all-for", "0s", "--daily-for", "0s", "--weekly-for", "0s")
PROMPTS = {
    "apply": Prompt("follow.Follower._ask", _new, ("apply", "module", "--state", "n"), 41),
    "apply, approved, of a new state": Prompt(
        "follow.Follower._ask", _new, ("apply", "module", "--state", "n", "--auto-approve"), 41
    ),
    "destroy": Prompt("follow.Follower._ask", _applied, ("destroy", "module", "--state", "s"), 41),
    "adopt": Prompt("adopt.ask", _local, ("adopt", "module", "--state", "n"), 41),
    "adopt, edit": Prompt("adopt._carry_out", _declared, ("adopt", "module", "--state", "n", "--yes")),
    "adopt, edit after the states": Prompt(
        "adopt._carry_out", _declared, ("adopt", "module", "--state", "n"), first=1, question="as shown?"
    ),
    "leave": Prompt("adopt.ask", _applied, ("leave", "module", "--state", "s"), 41),
    "force-unlock": Prompt("force_unlock.break_examined", _held, ("force-unlock", "s", "--window", "2s", *_VERIFIED)),
    "recover": Prompt("recover._Walk.agrees", _applied, ("recover", "module")),
    "recover, what is gone": Prompt("recover._undecided", _emptied, ("recover", "s", "--no-plan"), declined=20),
    "state accept": Prompt("state.accept_in", _suspect, ("state", "accept", "s")),
    "state prune": Prompt("state._pruned", _versions, ("state", "prune", "s", *_KEEP_ONE)),
    "state quarantine discard": Prompt(
        "state.quarantine_discard", _refused, ("state", "quarantine", "discard", "s", "")
    ),
    "state repair": Prompt("state.repair_in", _damaged, ("state", "repair", "s")),
    "state restore": Prompt("state.restore_in", _versions, ("state", "restore", "s")),
}


ANSWERS = ("y", "n", "ctrl-c", "closed")


def _tried() -> list[Any]:
    """Return each answer to each prompt: quick are all of `apply`, and one of every other prompt."""
    return [
        pytest.param(answer, name, marks=[] if name == "apply" or place % len(ANSWERS) == number else pytest.mark.slow)
        for place, name in enumerate(PROMPTS)
        for number, answer in enumerate(ANSWERS)
    ]


@pytest.mark.parametrize(("answer", "name"), _tried())
def test_each_prompt_takes_each_answer(desk: Desk, name: str, answer: str) -> None:
    prompt = PROMPTS[name]
    prompt.before(desk)
    words = [desk.quarantined()[0].id if word == "" else word for word in prompt.words]
    if answer == "closed":
        assert _closed(desk, *words, first=prompt.first) == 143
        return
    typed = {"y": b"y\n", "n": b"n\n", "ctrl-c": b"\x03"}[answer]
    earlier = [("over? [y/N]", b"y\n")][: prompt.first]
    code, shown = at_terminal(desk, *words, answers=[*earlier, (f"{prompt.question} [y/N]", typed)], columns=200)
    expected = {"y": prompt.agreed, "n": prompt.declined, "ctrl-c": 130}[answer]
    assert code == expected, shown
    assert "defect" not in shown
    says_no = name.startswith(("state ", "force-unlock", "leave")) or name == "adopt"
    assert not says_no or ("nothing was changed" in shown) == (answer == "n"), shown


@pytest.mark.parametrize("answer", ["y", "n", "ctrl-c", "closed"])
def test_the_change_of_a_bucket_is_asked_for(tmp_path: Path, aws: LocalAws, answer: str) -> None:
    endpoints = {f"AWS_ENDPOINT_URL_{name}": aws.url for name in ("S3", "DYNAMODB")}
    desk = Desk(tmp_path, {**aws.environment, **endpoints})
    words = ("bootstrap", "aws", "--bucket", aws.new_bucket(), "--region", "us-east-1")
    if answer == "closed":
        assert _closed(desk, *words) == 143
        return
    typed, expected = {"y": (b"y\n", 0), "n": (b"n\n", 41), "ctrl-c": (b"\x03", 130)}[answer]
    code, shown = at_terminal(desk, *words, answers=[("[y/N]", typed)], columns=200)
    assert code == expected, shown
    desk.close()


@pytest.mark.promise("P10")
@pytest.mark.parametrize("answer", ["typed", pytest.param("ctrl-c", marks=pytest.mark.slow), "closed"])
def test_the_secret_of_an_organisation_is_asked_for_and_not_shown(desk: Desk, answer: str) -> None:
    desk.environ["INTERLOCK_ENCRYPTION_KEY"] = desk.run("encryption", "new-key").out.strip()
    words = ("organisation", "add", "a", "--region", "eu-central-1", "--client-id", "c", "--states", "**", "--no-check")
    if answer == "closed":
        assert _closed(desk, *words, ends="client:") == 143
        return
    typed, expected = {"typed": (b"never-shown\n", 0), "ctrl-c": (b"\x03", 130)}[answer]
    code, shown = at_terminal(desk, *words, answers=[("secret of the OAuth client:", typed)], columns=200)
    assert code == expected, shown
    assert "never-shown" not in shown
    assert ("organisation a is kept" in shown) == (answer == "typed")


def test_every_place_that_asks_is_tried_here() -> None:
    """A question that nobody tried at a terminal is how `recover` crashed for every person."""
    asked = {place for path in sorted(CLI.glob("*.py")) for place in _asking(path)}
    elsewhere = {
        "bootstrap._bring_into_line",
        "one_run.with_missing_values",
        "one_run._put_question",
        "organisation._secret",
    }  # the tests beside this table
    assert asked == {prompt.asked_in for prompt in PROMPTS.values()} | elsewhere


CLI = Path(interlock.cli.__file__).parent
_ASKS = {"confirm", "ask", "answered", "prompt"}


def _asking(path: Path) -> Iterator[str]:
    """Yield the functions of a file that put a question to a person."""
    if path.stem == "view":  # where the asking itself is
        return
    tree = ast.parse(path.read_text())
    yield from _in_body(tree, path.stem)


def _in_body(node: ast.AST, where: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        name = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else ""
        is_inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _in_body(child, f"{where}.{name}" if name and not is_inner else where)
        if isinstance(child, ast.Call) and _asks(child.func):
            yield where


def _asks(called: ast.expr) -> bool:
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
        return (called.value.id, called.attr) in {*(("view", name) for name in _ASKS), ("typer", "confirm")}
    return isinstance(called, ast.Name) and called.id in {"input", "getpass"}


def _closed(desk: Desk, *words: object, first: int = 0, ends: str = "[y/N]") -> int:
    """Close the terminal when the question stands on it; return the exit status."""
    process, ours = desk.start_at_terminal(*words)
    shown, limit_s, said = "", time.monotonic() + STEP_S, 0
    while shown.count(ends) <= first and time.monotonic() < limit_s:
        if select.select([ours], [], [], 0.1)[0]:
            shown += os.read(ours, 65536).decode(errors="replace")
        if said < min(first, shown.count("[y/N]")):
            os.write(ours, b"y\n")
            said += 1
    os.close(ours)
    return process.wait(STEP_S)


def test_variables_that_nobody_gave_are_asked_for(desk: Desk) -> None:
    module = desk.module(text=ASKS)
    answers = [("var.colour", b"green\n"), ("var.password", b"hunter2hunter2\n")]
    code, shown = at_terminal(desk, "plan", module, "--state", "s", answers=answers)
    assert code == 0, shown
    assert '"green"' in shown
    assert "hunter2" not in shown
    kept = "".join(path.read_text(errors="replace") for path in (desk.home / "runs").rglob("*") if path.is_file())
    assert "hunter2" not in kept
    assert desk.run("plan", module, "--state", "s").code != 0, "nobody can be asked"
