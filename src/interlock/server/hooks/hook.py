"""A hook: which code host tells of comments, of which repository, and whose comments decide what. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from interlock.errors import UsageError, command
from interlock.instants import Instant
from interlock.rights.roles import check_glob

SCHEMA = 1
PERSONS_MAX = 200
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z", re.ASCII)
_ID = re.compile(r"[1-9][0-9]{0,18}\Z", re.ASCII)
_PERSON_CHARS = 100
_ASKED = ("name", "platform", "repository_id", "states", "persons")


class HookPlatform(StrEnum):
    """Which code host. Why not Azure DevOps: ADR 0413."""

    GITHUB = "github"
    GITLAB = "gitlab"


class Hook(Struct, frozen=True, kw_only=True):
    """One hook.

    Attributes:
        schema: Version of this record's format.
        name: By which people find it.
        platform: Which code host.
        repository_id: Of the one repository (GitLab: project) whose comments count.
        states: A glob over the states whose requests can be decided.
        persons: By the id of their account, those who may decide, with a name for people.
        secret: What the code host signs with.
        made_by: Who made it.
        made_at: When.
        rotated_at: When its secret was last replaced; None for never.
        changed_at: When its states or persons were last replaced; None for never.
    """

    schema: int = SCHEMA
    name: str
    platform: HookPlatform
    repository_id: str
    states: str
    persons: Mapping[str, str]
    secret: str
    made_by: str
    made_at: Instant
    rotated_at: Instant | None = None
    changed_at: Instant | None = None

    @property
    def since(self) -> datetime:
        """Since when it says who may decide what; no comment from before counts."""
        return self.changed_at or self.made_at

    def __repr__(self) -> str:
        """Hide the secret."""
        return f"Hook({self.name!r})"

    def account(self, person_id: str) -> str:
        """Return how an account is spelled everywhere: `github:583231`."""
        return f"{self.platform.value}:{person_id}"


def is_hook_name(text: str) -> bool:
    """Say whether a text can be the name of a hook."""
    return _NAME.match(text) is not None


def is_same(one: Hook, other: Hook) -> bool:
    """Say whether both were asked for with the same words; not who asked, when, and with which secret."""
    return all(getattr(one, name) == getattr(other, name) for name in _ASKED)


def rotated(hook: Hook, *, secret: str, now: datetime) -> Hook:
    """Return a hook with another secret."""
    return replace(hook, secret=secret, rotated_at=now)


def changed(hook: Hook, *, states: str | None, persons: Mapping[str, str] | None, now: datetime) -> Hook:
    """Return a hook for other states or persons, None for those that it has; the same object when nothing changes.

    Raises:
        UsageError: They are not usable.
    """
    after = replace(
        hook,
        states=hook.states if states is None else states,
        persons=hook.persons if persons is None else dict(persons),
    )
    check_hook(after)
    return hook if is_same(hook, after) else replace(after, changed_at=now)


def check_hook(hook: Hook) -> Hook:
    """Return a hook that may be kept.

    Raises:
        UsageError: A part of it is not usable.
    """
    if not is_hook_name(hook.name):
        raise _bad(hook, "its name is not usable", "use lower-case letters, digits, '.', '_' and '-'")
    if not _ID.match(hook.repository_id):
        raise _bad(hook, "names are given to others once their owner gives them up, ids are not", _REPOSITORY)
    check_glob(hook.states)
    if not hook.persons or len(hook.persons) > PERSONS_MAX:
        raise _bad(hook, f"it names {len(hook.persons)} persons", f"name 1 to {PERSONS_MAX} with --person ID=NAME")
    for person_id, name in hook.persons.items():
        if not _ID.match(person_id):
            raise _bad(hook, f"{person_id[:40]!a} is not the id of an account: a login can become another's", _PERSON)
        if len(name) > _PERSON_CHARS or not name.isprintable():
            raise _bad(hook, f"the name of {person_id} is not usable", f"print at most {_PERSON_CHARS} characters")
    return hook


_REPOSITORY = "add --repository-id NUMBER: GitHub shows `id` at /repos/OWNER/NAME of its API, GitLab on its page"
_PERSON = "add --person NUMBER=NAME: GitHub shows `id` at /users/LOGIN of its API, GitLab on the profile"


def _bad(hook: Hook, why: str, fix: str) -> UsageError:
    return UsageError(f"hook {hook.name[:64]!a} is refused", why=why, fix=fix or command("hook", "ls"))
