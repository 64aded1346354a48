"""Interlock's own backend with damaged bytes: told, and brought back by the command that the message names."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from tests.desk import Desk

pytestmark = pytest.mark.e2e
STATE = {"version": 4, "terraform_version": "1.11.4", "serial": 3, "lineage": "l", "outputs": {}, "resources": []}


def _spoil(desk: Desk, statement: str) -> None:
    with closing(sqlite3.connect(desk.home / "interlock.db", isolation_level=None)) as connection:
        connection.execute(statement)


@pytest.mark.promise("P3")
def test_a_damaged_state_is_repaired_by_pushing_it_and_a_damaged_record_by_repair(desk: Desk) -> None:
    file = desk.folder / "good.tfstate"
    file.write_text(json.dumps({**STATE, "check_results": None}))
    assert desk.run("state", "push", file, "--state", "prod/app").code == 0

    _spoil(desk, "UPDATE parts SET data = substr(data, 1, length(data) - 9) WHERE upload = 1")
    refused = desk.run("state", "pull", "prod/app")
    assert refused.code == 30
    assert "interlock state push FILE --state prod/app" in refused.err
    assert "whole again" in desk.run("state", "push", file, "--state", "prod/app").err
    assert desk.run("state", "pull", "prod/app").out == file.read_text()

    _spoil(desk, "UPDATE records SET value = x'7b7d' WHERE key = 'state/prod/app'")
    assert desk.run("state", "pull", "prod/app").code == 30
    assert "interlock state repair prod/app" in desk.run("doctor", desk.folder).out
    assert desk.run("state", "repair", "prod/app", "--yes").code == 0
    assert desk.run("state", "pull", "prod/app").out == file.read_text()
    history = desk.run("state", "history", "prod/app", "--json").document["versions"]
    assert [version["number"] for version in history] == [1]


@pytest.mark.promise("P3")
def test_an_older_database_in_the_place_of_the_newer_is_a_lost_state(desk: Desk) -> None:
    module = desk.module(text='resource "terraform_data" "a" {}\n')
    assert desk.run("apply", module, "--state", "prod/app", "--auto-approve").code == 0
    with closing(sqlite3.connect(desk.home / "interlock.db")) as connection:
        connection.execute(f"VACUUM INTO '{desk.folder / 'older.db'}'")
    (module / "b.tf").write_text('resource "terraform_data" "b" {}\n')
    assert desk.run("apply", module, "--state", "prod/app", "--auto-approve").code == 0
    for name in ("interlock.db-wal", "interlock.db-shm"):
        (desk.home / name).unlink(missing_ok=True)
    (desk.folder / "older.db").replace(desk.home / "interlock.db")

    verified = desk.run("state", "verify", "prod/app", "--json")
    assert verified.code == 20
    assert "state-lost" in verified.out
    assert desk.run("recover", "prod/app", "--yes", "--no-plan", "--window", "0s").code == 20
    planned = desk.run("plan", module, "--state", "prod/app")
    assert planned.code == 20
    assert "interlock state verify prod/app" in planned.err
    assert desk.run("state", "restore", "prod/app", "--version", "1", "--yes").code == 0
    assert desk.run("state", "verify", "prod/app").code == 0
