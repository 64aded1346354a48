"""Whoever names a lock, a resource or a run gains nothing at the terminal or in the pipeline of whoever looks at it."""

from __future__ import annotations

import ast
import io
import json
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from tests.security.conftest import RUN, SITE, STATE, WAITING, decoded, journal_entries
from tests.security.poison import AT_START, LINE, POISON, faults

from interlock.cli.main import COMMANDS, _run, load

pytestmark = pytest.mark.promise("P10")

RUNS_AS: dict[str, list[list[str]]] = {
    "plan": [["plan", POISON], ["plan", "module", "--state", POISON], ["plan", "module", "--terraform", f"./{LINE}"]],
    "apply": [["apply", "module", "--auto-approve", "--plan", POISON], ["apply", "module", "--deadline", POISON]],
    "exec": [["exec", "module", "--", "terraform", POISON], ["exec", POISON, "--", "terraform", "state", "list"]],
    "import": [["import", POISON, POISON, POISON]],
    "output": [["output", "--state", STATE], ["output", POISON, "--state", STATE], ["output", "--state", POISON]],
    "adopt": [["adopt", POISON], ["adopt", "module", "--state", POISON]],
    "leave": [["leave", POISON], ["leave", "module", "--state", POISON]],
    "status": [["status"]],
    "destroy": [["destroy", POISON, "--auto-approve"]],
    "drift scan": [["drift", "scan", POISON], ["drift", "scan", "module", "--unmanaged", POISON]],
    "drift ls": [
        *(["drift", "ls", "--state", STATE, "--format", form] for form in ("text", "markdown", "html")),
        ["drift", "ls", "--state", STATE],
        ["drift", "ls", "--state", POISON],
    ],
    "drift accept": [["drift", "accept", "--all", "--state", STATE, "--reason", POISON]],
    "drift revert": [["drift", "revert", "--all", "--state", STATE], ["drift", "revert", POISON, "--state", STATE]],
    "drift import": [["drift", "import", "--all", "--state", STATE]],
    "wait": [["wait", RUN], ["wait", POISON], ["wait", RUN, "--timeout", POISON]],
    "runs ls": [["runs", "ls"]],
    "runs show": [["runs", "show", RUN], ["runs", "show", RUN, "--plan"], ["runs", "show", POISON]],
    "runs logs": [["runs", "logs", RUN]],
    "runs prune": [["runs", "prune", "--older-than", POISON], ["runs", "prune", "--dry-run", "--older-than", "1m"]],
    "runs cancel": [["runs", "cancel", POISON]],
    "queue ls": [["queue", "ls"], ["queue", "ls", POISON]],
    "queue bump": [["queue", "bump", WAITING, POISON], ["queue", "bump", WAITING, "waits"]],
    "queue cancel": [["queue", "cancel", WAITING, POISON]],
    "queue pause": [["queue", "pause", WAITING, "--reason", POISON]],
    "queue resume": [["queue", "resume", POISON]],
    "lock ls": [["lock", "ls"]],
    "lock show": [["lock", "show", WAITING], ["lock", "show", SITE], ["lock", "show", POISON]],
    "lock explain": [["lock", "explain", WAITING, "--window", "0s"], ["lock", "explain", SITE, "--window", "0s"]],
    "lock acquire": [["lock", "acquire", POISON, "--reason", POISON],
                     ["lock", "acquire", WAITING, "--reason", POISON, "--wait", "0s"]],
    "lock release": [["lock", "release", WAITING], ["lock", "release", POISON]],
    "force-unlock": [
        ["force-unlock", SITE, "--window", "0s", "--dry-run"],
        ["force-unlock", SITE, "--window", "0s", "--lock-id", POISON],
        ["force-unlock", WAITING, "--window", "0s", "--yes", "--i-have-verified", POISON, "--operator", POISON],
    ],
    "recover": [["recover", SITE, "--window", "0s", "--dry-run"], ["recover", WAITING, "--window", "0s", "--no-plan"]],
    "audit ls": [["audit", "ls"]],
    "audit verify": [["audit", "verify"]],
    "audit export": [["audit", "export", "--out", "log.jsonl"], ["audit", "export", "--since", POISON]],
    "approvals ls": [["approvals", "ls"]],
    "approvals show": [["approvals", "show", POISON]],
    "approve": [["approve", POISON, "--reason", POISON]],
    "reject": [["reject", POISON, "--reason", POISON]],
    "policies ls": [["policies", "ls"], ["policies", "ls", POISON]],
    "policies show": [["policies", "show"]],
    "policies set": [["policies", "set", POISON], ["policies", "set", "state.json"]],
    "encryption new-key": [["encryption", "new-key"]],
    "encryption status": [["encryption", "status"], ["encryption", "status", "--store", POISON]],
    "encryption rotate": [["encryption", "rotate", "--store", POISON]],
    "encryption retire": [["encryption", "retire", POISON]],
    "encryption rewrite": [["encryption", "rewrite"]],
    "organisation add": [["organisation", "add", POISON, "--region", "eu-central-1", "--client-id", POISON,
                          "--states", POISON, "--no-check"]],
    "organisation ls": [["organisation", "ls"]],
    "organisation rotate": [["organisation", "rotate", POISON]],
    "organisation remove": [["organisation", "remove", POISON]],
    "hook add": [["hook", "add", POISON, "--platform", "github", "--repository-id", POISON, "--states", POISON,
                  "--person", POISON]],
    "hook ls": [["hook", "ls"]],
    "hook change": [["hook", "change", POISON, "--states", POISON, "--person", POISON]],
    "hook rotate": [["hook", "rotate", POISON]],
    "hook remove": [["hook", "remove", POISON]],
    "login": [["login", POISON], ["login", "http://127.0.0.1:1"]],
    "logout": [["logout"]],
    "state ls": [["state", "ls"]],
    "state show": [["state", "show", STATE], ["state", "show", SITE], ["state", "show", STATE, "--version", POISON]],
    "state verify": [["state", "verify", STATE], ["state", "verify", "broken.json"], ["state", "verify", SITE]],
    "state history": [["state", "history", STATE], ["state", "history", SITE]],
    "state diff": [["state", "diff", STATE], ["state", "diff", STATE, "--from", POISON]],
    "state restore": [["state", "restore", STATE, "--version", "1", "--dry-run"]],
    "state accept": [["state", "accept", STATE, "--yes"]],
    "state repair": [["state", "repair", STATE, "--dry-run"], ["state", "repair", SITE, "--dry-run"]],
    "state pull": [["state", "pull", POISON]],
    "state push": [["state", "push", "state.json", "--state", STATE],
                   ["state", "push", "broken.json", "--state", STATE]],
    "state import": [["state", "import", POISON], ["state", "import", "--all", "--dry-run"]],
    "state export": [["state", "export", POISON, "--as", POISON], ["state", "export", "--all"]],
    "state prune": [["state", "prune", STATE, "--dry-run"], ["state", "prune", STATE, "--all-for", POISON]],
    "state quarantine ls": [["state", "quarantine", "ls", STATE]],
    "state quarantine show": [["state", "quarantine", "show", STATE, "<id>"]],
    "state quarantine diff": [["state", "quarantine", "diff", STATE, "<id>"]],
    "state quarantine discard": [["state", "quarantine", "discard", STATE, POISON, "--yes"]],
    "lint": [["lint", "."], *(["lint", ".", "--format", form] for form in ("sarif", "gitlab")), ["lint", POISON]],
    "ci generate": [["ci", "generate", "github", "--dry-run", "--output", POISON]],
    "ci check": [["ci", "check", "--platform", "github"]],
    "ci roots": [["ci", "roots"], ["ci", "roots", "--named", POISON], ["ci", "roots", "--changed", POISON]],
    "ci allow-deletions": [["ci", "allow-deletions", "--state", POISON, "--lineage", POISON, "--serial", "1", POISON]],
    "roots": [["roots"], ["roots", "module"], ["roots", POISON], ["roots", "--changed", POISON]],
    "ci seal": [["ci", "seal", "plan.tfplan", "--state", POISON, "--tree", "0" * 40]],
    "ci reviewed": [["ci", "reviewed", "--state", POISON, "--out", "x", "--tree", "0" * 40]],
    "ci comment": [["ci", "comment", "summary.json", "--state", LINE, "--dry-run"],
                   ["ci", "comment", POISON, "--state", "s"]],
    "ci keys": [["ci", "keys"]],
    "ci wrap": [["ci", "wrap", POISON], ["ci", "wrap", "plan.tfplan"]],
    "ci login": [["ci", "login", "--state", POISON]],
    "ci notify": [["ci", "notify", "--state", POISON]],
    "explain": [["explain", "log.txt"], ["explain", POISON]],
    "deps": [["deps", "module"], ["deps", "module", "--impact", POISON], ["deps", POISON],
             *(["deps", "module", "--format", form] for form in ("mermaid", "dot", "svg", "html"))],
    "serve": [["serve", "--listen", POISON], ["serve", "--token-file", POISON]],
    "trust add": [["trust", "add", POISON, "--platform", "github", "--claim", f"repository_id={POISON}",
                   "--role", "reader", "--states", POISON],
                  ["trust", "add", "x", "--platform", "other", "--claim", POISON, "--role", "reader", "--states", "a"],
                  ["trust", "add", "x", "--platform", "person", "--issuer", "https://login.example", "--audience", "c",
                   "--claim", "sub=1", "--account", POISON, "--role", "reader", "--states", "a"]],
    "trust ls": [["trust", "ls"]],
    "trust remove": [["trust", "remove", POISON]],
    "token create": [["token", "create", "--role", "reader", "--states", POISON],
                     ["token", "create", "--role", "reader", "--note", POISON],
                     ["token", "create", "--role", "reader", "--person", POISON],
                     ["token", "create", "--role", "reader", "--expires", POISON]],
    "token ls": [["token", "ls"], ["token", "ls", "--store", POISON]],
    "token revoke": [["token", "revoke", POISON]],
    "migrate": [["migrate", "--store", POISON], ["migrate", "--store", f"postgresql://{POISON}@127.0.0.1:1/x"]],
    "gateway": [["gateway", "--listen", POISON], ["gateway", "--region", POISON]],
    "demo": [["demo", "--keep", "module"]],
    "bootstrap aws": [["bootstrap", "aws", POISON], ["bootstrap", "aws", "module", "--bucket", POISON, "--policy"]],
    "init": [["init", "--print"], ["init", POISON]],
    "doctor": [["doctor", "module"], ["doctor", SITE], ["doctor", POISON]],
    "exit-codes": [["exit-codes"]],
    "completion": [["completion", POISON]],
}  # fmt: skip
"""How each command is run. `<id>` is the refused write. Bytes that were asked for (`state pull`, `--raw`) stay raw."""


def _leaves() -> Iterator[tuple[str, Any]]:
    from typer.main import get_command

    def walk(name: str, found: Any) -> Iterator[tuple[str, Any]]:
        if hasattr(found, "commands"):
            for each, child in found.commands.items():
                yield from walk(f"{name} {each}", child)
        else:
            yield name, found

    for name, entry in COMMANDS.items():
        yield from walk(name, get_command(load(entry)))


LEAVES = dict(_leaves())


def test_every_command_is_run_over_poison() -> None:
    assert set(LEAVES) == set(RUNS_AS)


class _Stream(io.TextIOWrapper):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def fileno(self) -> int:
        raise OSError("no file")

    def said(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()  # what is not UTF-8 fails here


def _shown(monkeypatch: pytest.MonkeyPatch, argv: list[str], *, terminal: bool) -> tuple[str, str]:
    out, err = _Stream(terminal=terminal), _Stream(terminal=terminal)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        patched.setattr(sys, "stderr", err)
        patched.setattr(sys, "stdin", io.StringIO(""))
        _run(argv)
    return out.said(), err.said()


def _filled(argv: list[str], home: Path) -> list[str]:
    if "<id>" not in argv:
        return argv
    import asyncio

    from interlock.home.embedded import open_home
    from interlock.settings.reading import load as load_settings

    async def find() -> str:
        async with open_home(load_settings(home, {"INTERLOCK_HOME": str(home)})) as embedded:
            return (await embedded.archive.quarantined(STATE))[0].id

    return [asyncio.run(find()) if word == "<id>" else word for word in argv]


CI = {"GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_REPOSITORY": "o/r", "GITHUB_RUN_ID": "1", "GITHUB_TOKEN": "t"}


@pytest.mark.parametrize("leaf", sorted(RUNS_AS))
def test_an_attackers_words_come_out_of_no_command_as_they_are(
    leaf: str, poisoned: Path, evil_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = RUNS_AS[leaf]
    takes_json = any("--json" in parameter.opts for parameter in LEAVES[leaf].params)
    found: list[str] = []
    for argv in (_filled(each, poisoned.parent / "home") for each in wanted):
        for mode in ("text", "terminal", "ci", *(["json"] if takes_json and "--format" not in argv else [])):
            with monkeypatch.context() as patched:
                if mode == "ci":
                    for name, value in {**CI, "GITHUB_API_URL": evil_api, "GITHUB_SERVER_URL": evil_api}.items():
                        patched.setenv(name, value)
                words = [*argv, "--json"] if mode == "json" else argv
                out, err = _shown(patched, words, terminal=mode == "terminal")
            if mode == "json" and out:
                decoded(out)
            said = {"out": out, "err": err}
            found += [f"{mode} {ascii(argv)[:100]} {name}: {fault}" for name, text in said.items()
                      for fault in faults(text, terminal=mode == "terminal")]  # fmt: skip
    assert found == []


GITLAB = {
    "GITLAB_CI": "true",
    "CI": "true",
    "CI_PROJECT_ID": "1",
    "CI_JOB_ID": "2",
    "CI_PIPELINE_ID": "3",
    "CI_MERGE_REQUEST_IID": "4",
    "INTERLOCK_CI_TOKEN": "t",
    "CI_JOB_URL": POISON,
    "GITLAB_USER_LOGIN": POISON,
}
AZURE = {
    "TF_BUILD": "True",
    "SYSTEM_TEAMPROJECT": POISON,
    "BUILD_BUILDID": "3",
    "SYSTEM_ACCESSTOKEN": "t",
    "BUILD_REPOSITORY_ID": "x",
    "SYSTEM_PULLREQUEST_PULLREQUESTID": "4",
    "BUILD_REQUESTEDFOR": POISON,
}
ADDRESSES = {"GITHUB_ACTIONS": ("GITHUB_API_URL", "GITHUB_SERVER_URL"), "GITLAB_CI": ("CI_API_V4_URL", "CI_SERVER_URL"),
             "TF_BUILD": ("SYSTEM_COLLECTIONURI", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI")}  # fmt: skip
LISTENS = {"serve", "gateway"}  # with a wrong option they would begin to listen where it is taken
ASKED_RAW = "--raw"


def _with_options(leaf: str) -> Iterator[list[str]]:
    """Yield a command with each of its options: a switch alone, any other with an attacker's words for its value."""
    for parameter in LEAVES[leaf].params:
        option = next((each for each in parameter.opts if each.startswith("--")), None)
        if option not in (None, "--json", "--help", "--install-completion", "--show-completion", ASKED_RAW):
            yield [*RUNS_AS[leaf][0], option, *([] if parameter.is_flag else [POISON])]


@pytest.mark.parametrize("leaf", sorted(set(RUNS_AS) - LISTENS - {"demo"}))
def test_no_option_of_a_command_lets_an_attackers_words_through_on_any_ci_system(
    leaf: str, poisoned: Path, evil_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    for argv, system in zip(_with_options(leaf), cycle((GITLAB, AZURE, CI)), strict=False):
        with monkeypatch.context() as patched:
            for name, value in {**system, **dict.fromkeys(ADDRESSES[next(iter(system))], evil_api)}.items():
                patched.setenv(name, value)
            for text in _shown(patched, _filled(argv, poisoned.parent / "home"), terminal=False):
                found += [f"{ascii(argv)[:160]}: {fault}" for fault in faults(text)]
                assert "is a defect" not in text, argv
    assert found == []


@pytest.mark.parametrize("terminal", [False, True])
def test_what_a_run_says_cannot_steer_who_follows_it(
    terminal: bool, poisoned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    from datetime import UTC, datetime

    from interlock.cli import follow, view
    from interlock.run.transcript import Entry

    stream = _Stream(terminal=terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((500, 40)))
    monkeypatch.setattr(stream, "fileno", lambda: 2, raising=False)
    follower = follow.Follower(poisoned.parent / "home" / "runs" / RUN, quiet=False)
    for kind, facts in journal_entries():
        follower.show(Entry(at=datetime.now(UTC), kind=kind, facts=facts))
        follower.tick()
    view.say_failure(POISON, POISON, POISON, POISON)
    assert "ann" in stream.said()
    assert faults(stream.said(), terminal=terminal) == []


def test_of_our_own_coloured_text_only_colours_reach_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from interlock.cli import view

    stream = _Stream(terminal=True)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    view.notes("\x1b[32m+ created\x1b[0m\n\x1b]52;c;x\x07\n\x1b[31m::error::x", colours=True)
    assert stream.said() == "\x1b[32m+ created\x1b[0m\n\\x1b]52;c;x\\x07\n:\\x3aerror::x\n"


def test_names_of_all_scripts_stay_readable() -> None:
    from interlock.foreign_text import one_line

    for name in (
        "Zoë Müller",
        "王小明",
        "Ольга",
        "می\u200cخواهم",
        "क्\u200dष",
        "👩\u200d👩\u200d👧",
        "❤\ufe0f",
        "été 100 €",
    ):
        assert one_line(name) == name
    assert one_line("ann\u200dlee") == "ann\\u200dlee"  # a joiner where no script needs one makes two names look alike


def test_a_next_command_means_what_it_says_when_it_is_pasted(tmp_path: Path) -> None:
    import subprocess

    from interlock.errors import command

    words = [POISON, AT_START, LINE, "it's", "a b", "$(touch x)", "`id`", "--yes"]
    line = command("state", "show", *words)
    assert faults(line) == []
    assert "\n" not in line
    script = f"interlock() {{ printf '%s\\0' \"$@\"; }}; {line}"
    said = subprocess.run(["bash", "-c", script], capture_output=True, timeout=30, cwd=tmp_path, check=True).stdout
    assert said.decode().split("\0")[2:-1] == words
    assert command("plan", Path("-rf")) == "interlock plan ./-rf"


def test_a_lock_document_gains_nothing_at_the_terminal_of_another_terraform() -> None:
    from interlock.backend.protocol import Held, Refused, Take, answer, read_intent
    from interlock.errors import LockHeld, UsageError
    from interlock.terraform.lockinfo import LockInfo

    words = dict.fromkeys(("Operation", "Info", "Who", "Version", "Created", "Path"), POISON)
    taken = read_intent("LOCK", {}, json.dumps({"ID": "1", **words}).encode())
    assert isinstance(taken, Take)
    older = LockInfo(id="2", operation=POISON, info=POISON, who=POISON, created=POISON, path=POISON)
    for holder in (taken.info, older):
        document = json.loads(answer(Held(holder=holder, why=POISON)).body)
        assert [fault for text in document.values() for fault in faults(text)] == []
    with pytest.raises(UsageError, match="lock id"):
        read_intent("LOCK", {}, json.dumps({"ID": AT_START, **words}).encode())
    refused = answer(Refused(error=LockHeld(POISON, why=POISON, fix=POISON), status=423))
    assert faults(refused.body.decode()) == []


def test_a_user_name_from_the_environment_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from interlock import host

    monkeypatch.setenv("LOGNAME", POISON)
    assert faults(host.who()) == []
    assert "\n" not in host.who()


def test_json_has_the_same_value_as_what_was_said() -> None:
    from interlock.cli.view import as_json, as_json_line

    for spell in (as_json, as_json_line):
        assert json.loads(spell({POISON: [POISON, AT_START, "Zoë 王"]})) == {POISON: [POISON, AT_START, "Zoë 王"]}
        assert faults(spell({POISON: [POISON, AT_START]})) == []
        assert "Zoë 王" in spell("Zoë 王")
    assert json.loads(as_json("name\udce9")) == "name\udce9"  # of a file whose name is not UTF-8


WRITERS = {"view.py", "follow.py", "main.py", "overview.py", "help_text.py"}
"""view: all of it; follow: the live line; main: the version; overview, help_text: help, made of our own words."""


def test_no_command_writes_past_the_one_place_that_makes_text_safe() -> None:
    folder = Path(__file__).parents[2] / "src" / "interlock" / "cli"
    found = []
    for path in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if path.name not in WRITERS and isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("print", "typer.echo", "typer.secho", "click.echo", "os.write") or called.startswith(
                    ("sys.stdout.", "sys.stderr.")
                ):
                    found.append(f"{path.name}:{node.lineno}: {called}")
    assert found == []
