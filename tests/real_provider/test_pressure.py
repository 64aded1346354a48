"""Limits, storms, expired and revoked tokens: no run of the real provider fails of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.real_provider.trial import Trial

from interlock.simulator import DEFAULT_CLIENT, FaultKind, FaultRule, Limit, OAuthClient, Scope, Terms, WindowKind

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.real_provider]

MANY = """
resource "genesyscloud_routing_wrapupcode" "many" {{
  count = {count}
  name  = "Code ${{count.index}}"
}}
"""


def limited(allowed: int) -> tuple[Limit, ...]:
    """Return a limit of every token alone."""
    return (Limit(key="token.rate.per.minute", scope=Scope.TOKEN, allowed=allowed, window=WindowKind.SLIDING),)


@pytest.mark.promise("P7")
def test_two_hundred_resources_under_a_strict_limit_never_see_a_refusal(
    trial_with: Callable[[Terms], Trial],
) -> None:
    trial = trial_with(Terms(limits=limited(300)))
    trial.applied(trial.write(MANY.format(count=200)), "--", "-parallelism=20")
    assert len(trial.names("wrapupcode")) == 200
    assert not trial.calls(status=429)


@pytest.mark.promise("P7")
def test_a_storm_of_refusals_is_waited_out(trial_with: Callable[[Terms], Trial]) -> None:
    storm = FaultRule(kind=FaultKind.TOO_MANY, rate=0.3, times=15, seconds=1, path="/routing/")
    trial = trial_with(Terms(limits=(), faults=(storm,)))
    trial.applied(trial.write(MANY.format(count=30)))
    assert len(trial.names("wrapupcode")) == 30
    assert sum(trial.calls(status=429).values()) > 0


@pytest.mark.promise("P7")
def test_tokens_that_die_after_seconds_are_never_met(trial_with: Callable[[Terms], Trial]) -> None:
    short = OAuthClient(id=DEFAULT_CLIENT.id, secret=DEFAULT_CLIENT.secret, token_life_s=20.0)
    slow = FaultRule(kind=FaultKind.HANG, rate=1.0, method="POST", seconds=1.0, path="/routing/")
    trial = trial_with(Terms(limits=(), clients=(short,), faults=(slow,)))
    trial.applied(trial.write(MANY.format(count=60)), "--", "-parallelism=2")
    assert len(trial.names("wrapupcode")) == 60
    assert trial.simulation.login.granted > 1


@pytest.mark.promise("P7")
def test_tokens_revoked_in_the_middle_are_replaced(trial_with: Callable[[Terms], Trial]) -> None:
    slow = FaultRule(kind=FaultKind.HANG, rate=1.0, method="POST", seconds=0.2, path="/routing/")
    trial = trial_with(Terms(limits=(), faults=(slow,)))
    run = trial.desk.start("apply", trial.write(MANY.format(count=40)), "--state", "s", "--auto-approve")
    trial.desk.until(lambda: len(trial.names("wrapupcode")) > 10 or None, "a run that has begun")
    assert trial.simulation.login.revoke_all() > 0
    answer = run.wait()
    assert answer.code == 0, answer.err[-4000:]
    assert len(trial.names("wrapupcode")) == 40
