from __future__ import annotations

from interlock.gateway.callers import CLIENTS_MAX, Callers, Run, digest_of
from interlock.gateway.route import RunCaller
from interlock.lock import Priority


def run(token: str = "secret") -> Run:  # noqa: S107 - a fake one
    return Run(run="run1", priority=Priority.APPLY, digest=digest_of(token), is_current=lambda _: True)


def test_a_run_is_found_only_by_its_own_token() -> None:
    callers = Callers()
    callers.add(run())
    assert callers.find(RunCaller(run="run1", token="secret")) is not None
    assert callers.find(RunCaller(run="run1", token="guess")) is None
    assert callers.find(RunCaller(run="run2", token="secret")) is None


def test_a_run_that_is_over_is_remembered_for_those_who_know_its_token() -> None:
    callers = Callers()
    callers.add(run())
    callers.remove("run1")
    callers.remove("never")
    assert callers.find(RunCaller(run="run1", token="secret")) is None
    assert callers.is_gone(RunCaller(run="run1", token="secret"))
    assert not callers.is_gone(RunCaller(run="run1", token="guess"))


def test_a_newer_grant_replaces_the_older_token() -> None:
    callers = Callers()
    callers.add(run("old"))
    callers.add(run("new"))
    assert callers.find(RunCaller(run="run1", token="old")) is None


def test_invented_client_names_share_one_flow_in_the_end() -> None:
    callers = Callers()
    flows = {callers.flow_of(f"name{number}") for number in range(CLIENTS_MAX + 50)}
    assert len(flows) == CLIENTS_MAX + 1
    assert callers.flow_of("name0") == "c/name0"


def test_a_runs_token_is_not_kept() -> None:
    assert b"secret" not in run().digest
    assert "secret" not in repr(run())
