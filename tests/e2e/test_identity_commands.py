"""Tokens, trust rules and logins of people, by commands that speak to a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import forking
from tests.identity_issuer import CLIENT, identity_issuer
from tests.replicas import STEP_S, TOKEN, Replica

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Replica]:
    running = Replica(f"sqlite:{tmp_path / 'server.db'}", tmp_path / "server")
    yield running
    running.end()


def interlock(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    (folder / "person").mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_")}
    home = {"HOME": str(folder / "person"), "XDG_CONFIG_HOME": str(folder / "person/.config")}
    env = {**kept, **home, "INTERLOCK_HOME": str(folder / "person/home"), **environ}
    return forking.run(words, env=env, cwd=folder / "person", timeout=STEP_S)


@pytest.mark.promise("P10")
def test_an_administrator_makes_tokens_at_the_server_and_nobody_else_does(server: Replica, tmp_path: Path) -> None:
    own = {"INTERLOCK_SERVER": server.said["address"], "INTERLOCK_TOKEN": server.said["admin_token"]}
    made = interlock(tmp_path, "token", "create", "--role", "operator", "--states", "prod/*", "--json", **own)
    assert made.returncode == 0, made.stderr
    token = json.loads(made.stdout)
    listed = json.loads(interlock(tmp_path, "token", "ls", "--json", **own).stdout)["tokens"]
    assert token["id"] in {each["id"] for each in listed}
    assert not (tmp_path / "person/home/interlock.db").exists(), "nothing went past the server"
    other = {**own, "INTERLOCK_TOKEN": token["token"]}
    for words in (
        ("token", "ls"),
        ("token", "create", "--role", "admin"),
        ("token", "revoke", token["id"]),
        ("trust", "ls"),
    ):
        assert interlock(tmp_path, *words, **other).returncode == 32, words
    rule = (
        "trust",
        "add",
        "r",
        "--platform",
        "github",
        "--claim",
        "repository_id=7",
        "--role",
        "reader",
        "--states",
        "a",
    )
    assert interlock(tmp_path, *rule, **other).returncode == 32
    assert interlock(tmp_path, *rule, **own).returncode == 0
    assert "repository_id=7" in interlock(tmp_path, "trust", "ls", **own).stdout
    assert interlock(tmp_path, "trust", "remove", "r", **own).returncode == 0
    assert interlock(tmp_path, "trust", "remove", "r", **own).returncode == 3
    assert interlock(tmp_path, "token", "revoke", token["id"], **own).returncode == 0
    audit = interlock(
        tmp_path, "audit", "ls", "--json", INTERLOCK_SERVER=own["INTERLOCK_SERVER"], INTERLOCK_TOKEN=TOKEN
    )
    actions = {entry["action"] for entry in json.loads(audit.stdout)["entries"]}
    assert {"token-created", "token-revoked", "trust-rule-added", "trust-rule-removed"} <= actions
    for secret in (token["token"], own["INTERLOCK_TOKEN"]):
        assert secret not in audit.stdout


@pytest.mark.promise("P10")
def test_a_person_logs_in_at_their_provider_and_works_at_the_server_from_then_on(
    server: Replica, tmp_path: Path
) -> None:
    with identity_issuer() as provider:
        provider.people.interval = 1
        provider.people.says = ["authorization_pending"]
        own = {"INTERLOCK_SERVER": server.said["address"], "INTERLOCK_TOKEN": server.said["admin_token"]}
        who = ("--issuer", provider.url, "--audience", CLIENT, "--claim", "groups=operators")
        rule = ("trust", "add", "ops", "--platform", "person", *who, "--role", "operator", "--states", "prod/*")
        assert interlock(tmp_path, *rule, **own).returncode == 0
        login = interlock(tmp_path, "login", server.said["address"], "--device", "--json")
        assert login.returncode == 0, login.stderr
        assert "WDJB-MJHT" in login.stderr
        assert provider.people.wrong == []
        assert interlock(tmp_path, "logout").returncode == 0
        browser = f"{sys.executable} -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1])' %s"
        again = interlock(tmp_path, "login", server.said["address"], "--browser", "--json", BROWSER=browser)
        assert again.returncode == 0, again.stderr
        assert "ann" in json.loads(again.stdout)["who"]
        assert provider.people.wrong == []
    assert "ann" in json.loads(login.stdout)["who"]
    assert "ilk_" not in login.stdout + login.stderr
    assert interlock(tmp_path, "queue", "ls", "--json").returncode == 0, "without any variable"
    assert interlock(tmp_path, "token", "ls").returncode == 32
    assert interlock(tmp_path, "logout").returncode == 0
