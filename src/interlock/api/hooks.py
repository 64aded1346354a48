"""Hooks, by which a code host tells of comments, as both ends of the API spell them. Pure."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from interlock.api.problem import Problem

COMMENT_PATH = "/hooks/comment"
"""Below the API's base: where a code host sends what it tells."""


class NewHook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A hook to be made.

    Attributes:
        name: By which people find it; in the address that the code host is given.
        platform: Which code host: `github` or `gitlab`.
        repository_id: Of the one repository (GitLab: project) whose comments count.
        states: A glob over the states whose requests can be decided.
        persons: By the id of their account, those who may decide, with a name for people.
    """

    name: str
    platform: str
    repository_id: str
    states: str
    persons: dict[str, str]


class ChangedHook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a hook is to be from now on. Repository and secret stay.

    Attributes:
        states: A glob over the states whose requests can be decided; None for the one that it has.
        persons: By the id of their account, those who may decide, with a name for people; all of them. None for those
            whom it has: a client that told them again could bring back whoever was taken off meanwhile.
    """

    states: str | None = None
    persons: dict[str, str] | None = None


class ToldHook(Struct, frozen=True, kw_only=True):
    """A hook, without its secret.

    Attributes:
        name: By which people find it.
        platform: Which code host.
        repository_id: Of the repository whose comments count.
        states: A glob over the states whose requests can be decided.
        persons: By the id of their account, those who may decide, with a name for people.
        made_by: Who made it.
        made_at: When.
        rotated_at: When its secret was last replaced; None for never.
        changed_at: When its states or persons were last replaced; None for never.
        path: Where the code host sends what it tells, below the server's address.
    """

    name: str
    platform: str
    repository_id: str
    states: str
    persons: dict[str, str]
    made_by: str
    made_at: datetime
    rotated_at: datetime | None
    changed_at: datetime | None
    path: str


class ToldHooks(Struct, frozen=True, kw_only=True):
    """All hooks.

    Attributes:
        hooks: By name.
        unreadable: Names of those that cannot be read; they let nobody decide.
    """

    hooks: list[ToldHook]
    unreadable: list[str] = []


class MadeHook(Struct, frozen=True, kw_only=True):
    """A hook that was made, or whose secret is a new one.

    Attributes:
        about: The hook.
        secret: What the code host signs with. It is told this once; empty for a hook that was there already.
    """

    about: ToldHook
    secret: str

    def __repr__(self) -> str:
        """Hide the secret."""
        return f"MadeHook({self.about.name!r})"


class Heard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a signed event.

    A comment that is refused is an answer and no failure: a code host stops to tell anything where answers fail, and
    then anybody who may comment could switch a hook off.

    Attributes:
        outcome: `approved`, `rejected`, `refused`, `repeated` (it was heard before) or `ignored` (it decides nothing).
        why: Why, of what decided nothing.
        request: Which request it was about.
        state: Of which state.
        standing: What the request is now.
        problem: Of a refusal: what the API answers to such a decision.
    """

    outcome: str
    why: str = ""
    request: str = ""
    state: str = ""
    standing: str = ""
    problem: Problem | None = None
