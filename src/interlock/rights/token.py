"""A token: what it is, how it is spelled, and whether what somebody shows is it. Pure.

It is spelled `ilk_<id>_<secret>`: scanners for leaked secrets know it by its beginning, and a person finds it in the
list by its id. The store has the secret's SHA-256 only; the secret has 256 bits, so a slow hash would protect nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from interlock.errors import AuthenticationFailed, command
from interlock.instants import Instant, spelled
from interlock.persons import NAME, Party, is_at_code_host, token_account
from interlock.rights.roles import EVERY_STATE, Right, Role, least_role, may

PREFIX = "ilk"
SCHEMA = 1
BOUND_SCHEMA = 2
"""Of a bound token: a release that knows nothing of bindings would take it for one that is good for any run."""
PERSON_SCHEMA = 3
"""Of a token that says whose it is, or who made it: a release that knows nothing of it would forget that."""
_TEXT = re.compile(r"ilk_([0-9a-z]{12})_([A-Za-z0-9_-]{43})\Z", re.ASCII)
_FORBIDDEN = 403


class Forbidden(AuthenticationFailed):
    """Whoever this is has not that right."""

    http_status = _FORBIDDEN


class TokenText(Struct, frozen=True):
    """A token as somebody shows it. Its secret is in no message."""

    id: str
    secret: str

    def __repr__(self) -> str:
        """Show it without the secret."""
        return f"TokenText({self.id})"

    def whole(self) -> str:
        """Return the whole text, for its owner."""
        return f"{PREFIX}_{self.id}_{self.secret}"


class Binding(Struct, frozen=True, kw_only=True):
    """What a token of a CI job hangs on.

    Attributes:
        rule: The trust rule that gave it; without the rule it is not renewed.
        job: Which job has it, for people.
        until: It is not renewed beyond this.
        run: The one run that it is for; "" for any of the state.
        account: Of whoever is behind it: the account at a code host that began the job, as `github:583231`, or that of
            a person at the provider where they log in, as `person:SUB ISSUER`. "" where none is known.
    """

    rule: str
    job: str
    until: Instant
    run: str = ""
    account: str = ""


class Token(Struct, frozen=True, kw_only=True):
    """A token as it is kept.

    Attributes:
        id: By which it is found.
        digest: SHA-256 of its secret, in hexadecimal digits.
        role: What it may do.
        states: A glob over the states to which.
        note: Who or what it is for.
        made_by: Who made it.
        made_at: When.
        expires_at: When it ends; None for never.
        revoked_at: When it was revoked; None when it was not.
        used_at: About when it was used last; None when it never was.
        bound: What it hangs on; None for one that a person made.
        accounts: Of the one person whose it is, as `interlock.persons` spells them; empty for a program's, or where
            nobody said.
        makers: Accounts of those who made it.
        schema: Version of this record's format.
    """

    id: str
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    role: Role
    states: str = EVERY_STATE
    note: str = ""
    made_by: str = ""
    made_at: Instant
    expires_at: Instant | None = None
    revoked_at: Instant | None = None
    used_at: Instant | None = None
    bound: Binding | None = None
    accounts: tuple[str, ...] = ()
    makers: tuple[str, ...] = ()
    schema: int = SCHEMA

    @property
    def party(self) -> Party:
        """Who is behind it: whose it is, or who began its job, and who made it."""
        is_job = self.bound is not None and is_at_code_host(self.bound.account)
        return Party(accounts=self.persons or (token_account(self.id),), makers=self.makers, is_job=is_job)

    @property
    def persons(self) -> tuple[str, ...]:
        """Accounts of the one person whose it is, or who began its job; empty where nobody knows."""
        shown = (self.bound.account,) if self.bound is not None and self.bound.account else ()
        return tuple(dict.fromkeys((*shown, *self.accounts)))

    @property
    def who(self) -> str:
        """Who acts with it, for people."""
        name = self.accounts[0].removeprefix(f"{NAME}:") if self.accounts else "token"
        return f"{self.note or name} ({self.id})"

    @property
    def key(self) -> str:
        """See `Caller.key`."""
        return self.id

    def ended(self, now: datetime) -> str:
        """Return why it is not good any more; empty while it is. Revoked is revoked, also when a clock goes back."""
        if self.revoked_at is not None:
            return f"it was revoked at {spelled(self.revoked_at)}"
        if self.expires_at is not None and self.expires_at <= now:
            return f"it expired at {spelled(self.expires_at)}"
        return ""

    def check(self, right: Right, state: str) -> None:
        """Refuse what it is not good for.

        Raises:
            Forbidden: It lacks the right, or is not for this state.
        """
        if not may(self.role, self.states, right, state):
            raise Forbidden(
                f"token {self.id} may not {right.value} {state}",
                why=f"it has the role {self.role.value} for the states {self.states}",
                fix=token_for(least_role(right), state),
            )

    def check_run(self, run: str) -> None:
        """Refuse to act for another run than the one that it is bound to.

        Raises:
            Forbidden: It is bound to another.
        """
        if self.bound is not None and self.bound.run and self.bound.run != run:
            raise Forbidden(
                f"token {self.id} is not for {f'run {run}' if run else 'a lock without a run'}",
                why=f"it was given to {self.bound.job} for run {self.bound.run} alone",
                fix=f"{command('ci', 'login', '--state', self.states)}    gives the job a token for its own run",
            )


def token_for(role: Role, state: str) -> str:
    """Return the command that makes a token of a role for a state."""
    match role:
        case Role.READER:
            return command("token", "create", "--role", "reader", "--states", state)
        case Role.PLANNER:
            return command("token", "create", "--role", "planner", "--states", state)
        case Role.RUNNER:
            return command("token", "create", "--role", "runner", "--states", state)
        case Role.OPERATOR:
            return command("token", "create", "--role", "operator", "--states", state)
        case Role.ADMIN:
            return command("token", "create", "--role", "admin", "--states", state)


def schema_of(token: Token) -> int:
    """Return the version of the format that a token needs."""
    if token.accounts or token.makers:
        return PERSON_SCHEMA
    return SCHEMA if token.bound is None else BOUND_SCHEMA


def digest_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def parse_token(text: str) -> TokenText | None:
    """Read a token; None when the text is none."""
    found = _TEXT.match(text)
    return TokenText(found[1], found[2]) if found else None


def check_token(kept: Token | None, shown: TokenText, now: datetime) -> Token:
    """Return the token that somebody shows. An unknown one takes as long to refuse as a wrong secret.

    Raises:
        AuthenticationFailed: There is none, its secret is another, or it is not good any more.
    """
    digest = kept.digest if kept is not None else digest_of("")
    if not hmac.compare_digest(digest, digest_of(shown.secret)) or kept is None:
        raise AuthenticationFailed("the token is not known here", why="it is wrong, or was deleted", fix=_ANOTHER)
    if why := kept.ended(now):
        raise AuthenticationFailed(f"token {kept.id} is not good any more", why=why, fix=_ANOTHER)
    return kept


_ANOTHER = "interlock token create --role runner"
