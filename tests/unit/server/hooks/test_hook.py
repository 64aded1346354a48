from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from interlock.errors import UsageError
from interlock.server.hooks.hook import Hook, HookPlatform, changed, check_hook, is_same, rotated

HOOK = Hook(
    name="prs",
    platform=HookPlatform.GITHUB,
    repository_id="74",
    states="prod/**",
    persons={"583231": "octocat"},
    secret="whsec_x",
    made_by="ann",
    made_at=datetime(2026, 11, 30, 8, tzinfo=UTC),
)


@pytest.mark.parametrize(
    "more",
    [
        {"name": "Prs"},
        {"name": "a/b"},
        {"name": ""},
        {"repository_id": "octo-org/octo-repo"},
        {"repository_id": "074"},
        {"repository_id": "\u0667"},
        {"states": ""},
        {"persons": {}},
        {"persons": {"octocat": "octocat"}},
        {"persons": {"1": "x\x1b[2J"}},
        {"persons": {str(number): "" for number in range(1, 202)}},
    ],
)
def test_a_hook_names_ids_and_people(more: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        check_hook(replace(HOOK, **more))
    assert check_hook(HOOK) is HOOK


def test_a_hook_is_the_same_whoever_made_it_and_whatever_its_secret() -> None:
    later = rotated(HOOK, secret="whsec_y", now=HOOK.made_at + timedelta(days=1))
    assert is_same(HOOK, later)
    assert is_same(later, HOOK)
    assert not is_same(HOOK, replace(HOOK, persons={"583231": "octocat", "1": "ben"}))
    assert not is_same(HOOK, replace(HOOK, states="**"))


def test_a_change_keeps_repository_and_secret_and_says_since_when() -> None:
    later = HOOK.made_at + timedelta(days=1)
    assert changed(HOOK, states="prod/**", persons=dict(HOOK.persons), now=later) is HOOK
    other = changed(HOOK, states="prod/**", persons={"1": "ben"}, now=later)
    assert (other.persons, other.secret, other.since, HOOK.since) == ({"1": "ben"}, HOOK.secret, later, HOOK.made_at)
    moved = changed(other, states="dev/**", persons=None, now=later)
    assert (moved.states, moved.persons) == ("dev/**", {"1": "ben"})
    assert changed(other, states=None, persons=None, now=later) is other
    for states, persons in (("prod/**", {}), ("", None)):
        with pytest.raises(UsageError):
            changed(HOOK, states=states, persons=persons, now=later)


@pytest.mark.promise("P10")
def test_no_secret_is_in_what_is_shown_of_a_hook() -> None:
    assert "whsec" not in repr(HOOK)
