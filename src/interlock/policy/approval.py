"""One request for approval, and what may become of it. Pure.

A request is bound to what is to be done: its digest is that of a kept plan, or of a command and the version that it is
for. So an approval says yes to that, never to a name. What is to be done otherwise is another request.

The rules, in the order in which they are asked:
- one that was used, replaced by another request, rejected, or is too old, is over; nothing brings it back;
- whoever asked does not count among those who approve, unless each policy that asks for approval says so, and then
  only those count of whom it is known who they are;
- each person counts once; a rejection by anybody ends it, also after enough have approved, as long as it is not used;
- who is the same person, and how many there are at least, is decided in `interlock.persons`: where one who approves
  may be the one who asked, one more must;
- an account of a code host approves only where it is known which account ordered the run;
- it is used once: the swap that writes `used_by` comes before anything is changed, so one who is killed after it has
  used it up, and nobody can apply twice on one approval.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.bounded import decode_json
from interlock.errors import PlanStale, PolicyGate, StateInvalid, UsageError, command, reason_of
from interlock.instants import Instant, spelled
from interlock.persons import (
    TOKEN,
    Count,
    Likeness,
    Party,
    count_all,
    count_others,
    is_at_code_host,
    kind_of,
    likeness,
    machine_account,
    token_account,
)

SCHEMA = 1
ACCOUNT_SCHEMA = 2
"""Of a request that names the account behind the run: a release that knows nothing of it would forget it."""
PARTY_SCHEMA = 3
"""Of a request that says who is behind the credentials: a release that knows nothing of it would take tokens for
persons."""
REASON_MAX = 1000
COMMENT_PREFIX = "/interlock"
_OF_TOKEN = re.compile(r"(?:\A|\()([0-9a-z]{12}|server)\)?\Z", re.ASCII)  # see `callers.person_of`; accounts have an @
DIGEST_SHOWN = 16
"""Digits of a digest that a comment names at least: nobody finds another plan with the same."""
DECISIONS_MAX = 50


class Kind(StrEnum):
    """What is asked for."""

    APPLY = "apply"
    """A kept plan is to be applied."""
    EXEC = "exec"
    """A command of Terraform is to change the state."""
    FORCE_UNLOCK = "force-unlock"
    RESTORE = "restore"


class Verdict(StrEnum):
    """What a person said."""

    APPROVE = "approve"
    REJECT = "reject"


class Standing(StrEnum):
    """What a request is now."""

    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    REPLACED = "replaced"
    USED = "used"


OPEN = frozenset({Standing.WAITING, Standing.APPROVED})
"""The standings of which something can still come."""


class Decision(Struct, frozen=True, kw_only=True):
    """What one person said.

    Attributes:
        who: The person.
        verdict: Yes or no.
        reason: In their words.
        at: When.
        via: From where: `cli`, `api`, and the address where it is known; of a comment its address.
        account: Of the person who commented, as `github:583231`. Names can be changed, and become another's; this
            stays. An earlier release wrote here that of whoever logged in.
        party: Who is behind their credentials; None for a comment, in a home without tokens, and in a record of an
            earlier release.
    """

    who: str
    verdict: Verdict
    reason: str
    at: Instant
    via: str = ""
    account: str = ""
    party: Party | None = None

    @property
    def behind(self) -> Party:
        """Who is behind it."""
        return _behind(self.party, self.account, self.who)

    @property
    def host(self) -> str:
        """The code host where they commented; empty for whoever has a token of the server."""
        return kind_of(self.account) if is_at_code_host(self.account) else ""


class KeptPlan(Struct, frozen=True, kw_only=True):
    """A plan that waits for approval.

    Attributes:
        blob: The digest under which the store keeps the plan file.
        essence: Digest of what the plan does; see `interlock.run.plan_essence`.
        operation: `apply` or `destroy`.
        directory: The root module on the machine that made it.
        module: Its path in the repository.
        flags: Flags for Terraform, values of variables masked.
        named: The state as the person named it with `--state`; empty when the folder says it.
        allow_destroy: The person allowed deletions on a protected state.
        max_deletes: The limit that the person named; None for none.
        counts: `add`, `change`, `remove`.
    """

    blob: str
    essence: str
    operation: str
    directory: str
    module: str = ""
    flags: tuple[str, ...] = ()
    named: str = ""
    allow_destroy: bool = False
    max_deletes: int | None = None
    counts: dict[str, int] = {}


class Approval(Struct, frozen=True, kw_only=True):
    """A request for approval.

    Attributes:
        id: The run that asks; of other requests a name of their own.
        kind: What is asked for.
        state: The state's name.
        digest: Of what is to be done.
        what: The same in one line, for people.
        asked_by: Who asks.
        asked_at: When.
        expires_at: When it is too old.
        needed: How many must approve.
        own_approval: Whether the one who asks counts among them.
        policy: The policy that asks for it.
        job: URL of the CI job; empty without one.
        plan: Of an apply, the kept plan.
        decisions: What persons said, in order.
        used_by: The run that acted on it; empty when none did.
        used_digest: Of what that run did: the kept plan's, or the essence of an equal one.
        used_at: When.
        replaced_by: The request that took its place, since something else is to be done now; empty for none.
        ordered_by: The first account of whoever asks, for people; an earlier release kept nothing else of them.
        asker: Who is behind the credentials of whoever asks; None as for `Decision.party`.
        comments_on: The code host where a comment on a pull request can decide it; empty for none.
        schema: Version of this record's format.
    """

    id: str
    kind: Kind
    state: str
    digest: str
    what: str
    asked_by: str
    asked_at: Instant
    expires_at: Instant
    needed: int
    own_approval: bool = False
    policy: str = ""
    job: str = ""
    plan: KeptPlan | None = None
    decisions: tuple[Decision, ...] = ()
    used_by: str = ""
    used_digest: str = ""
    used_at: Instant | None = None
    replaced_by: str = ""
    ordered_by: str = ""
    asker: Party | None = None
    comments_on: str = ""
    schema: int = SCHEMA

    @property
    def behind(self) -> Party:
        """Who is behind it."""
        return _behind(self.asker, self.ordered_by, self.asked_by)

    @property
    def approvers(self) -> tuple[str, ...]:
        """Who approves it and is counted, each once."""
        return approvers(self, own=self.own_approval)

    @property
    def approved(self) -> int:
        """How many persons approve it, at the very least."""
        return count_of(self, own=self.own_approval).persons


def count_of(approval: Approval, *, own: bool) -> Count:
    """Return how many persons approve a request.

    Args:
        approval: The request.
        own: Whether the one who asks counts.
    """
    parties = [one.behind for one in _yes(approval)]
    return count_all(parties) if own else count_others(approval.behind, parties)


def approvers(approval: Approval, *, own: bool) -> tuple[str, ...]:
    """Return who is counted for it, each once; see `count_of`."""
    yes = _yes(approval)
    return tuple(yes[place].who for place in count_of(approval, own=own).speakers)


def doubt_of(approval: Approval) -> str:
    """Return why more persons must approve than have been named; empty where it is clear who is who."""
    if not count_of(approval, own=approval.own_approval).is_doubtful:
        return ""
    asker = approval.ordered_by or approval.asked_by
    return f"one of those who approve may be who asked ({asker}): Interlock cannot tell, so one more person approves"


def of_party(approval: Approval, party: Party | None) -> Approval:
    """Return a request that says who asks; None in a home without tokens."""
    named = [each for each in party.accounts if kind_of(each) != TOKEN] if party is not None else []
    account = named[0] if named else ""
    return replace(approval, ordered_by=account, asker=party, schema=SCHEMA if party is None else PARTY_SCHEMA)


def _yes(approval: Approval) -> list[Decision]:
    return [one for one in approval.decisions if one.verdict is Verdict.APPROVE]


def _behind(party: Party | None, account: str, who: str) -> Party:
    """Return who is behind a request or a decision, also where only their account or what they are known by is kept.

    That is so in a home without tokens, and in records of an earlier release.
    """
    if party is not None:
        return party
    token = _OF_TOKEN.search(who)
    known_by = machine_account(who) if token is None else token_account(token[1])
    return Party(accounts=(account or known_by,), is_job=is_at_code_host(account))


def standing(approval: Approval, now: datetime) -> Standing:
    """Return what a request is now."""
    if approval.used_by:
        return Standing.USED
    if approval.replaced_by:
        return Standing.REPLACED
    if any(one.verdict is Verdict.REJECT for one in approval.decisions):
        return Standing.REJECTED
    if approval.expires_at <= now:
        return Standing.EXPIRED
    return Standing.APPROVED if approval.approved >= approval.needed else Standing.WAITING


def decided(approval: Approval, decision: Decision, *, digest: str = "") -> Approval:
    """Return the request with what a person said; the same object when they had said so already.

    Args:
        approval: The request.
        decision: What they say.
        digest: The beginning of the digest that they saw; empty when they named none.

    Raises:
        UsageError: It is over, the reason is missing or too long, or they saw something else.
        PolicyGate: They ordered it, and another person must approve.
    """
    _check_reason(decision.reason)
    if digest and not _bare(approval.digest).startswith(_bare(digest)):
        raise UsageError(
            f"request {approval.id} is for another plan than the one that you saw",
            why=f"you named {digest[:64]}, it has {approval.digest[:16]}",
            fix=command("approvals", "show", approval.id),
        )
    now = standing(approval, decision.at)
    if now not in OPEN:
        raise UsageError(
            f"request {approval.id} cannot be decided any more", why=why_over(approval, now), fix=next_of(approval)
        )
    if decision.verdict is Verdict.APPROVE:
        if not approval.own_approval:
            _check_other_person(approval, decision)
        if any(_is_repeated(decision, one) for one in _yes(approval)):
            return approval
    if len(approval.decisions) >= DECISIONS_MAX:
        raise UsageError(f"request {approval.id} has {DECISIONS_MAX} decisions already", fix=next_of(approval))
    schema = approval.schema if decision.party is None else PARTY_SCHEMA
    return replace(approval, decisions=(*approval.decisions, decision), schema=schema)


def _is_repeated(decision: Decision, earlier: Decision) -> bool:
    """Say whether somebody said so before."""
    return set(decision.behind.accounts) <= set(earlier.behind.accounts)


def _check_other_person(approval: Approval, decision: Decision) -> None:
    if decision.host and not _is_known_at(decision.host, approval.behind):
        raise _not_approved_by(
            approval,
            decision,
            f"it is not known which account of {decision.host} began the run, and policy {approval.policy} wants "
            "another person",
            how_to_approve(replace(approval, comments_on="")),
        )
    if approval.behind.is_person and decision.behind.names_nobody:
        raise _not_approved_by(
            approval,
            decision,
            f"their token names no person, so it may be {approval.asked_by}'s, and policy {approval.policy} wants "
            "another person",
            f"{_token_of_person(approval)}    by an administrator, for the person; where people log in, log in",
        )
    why = _why_same(approval, decision)
    if why:
        raise _not_approved_by(
            approval,
            decision,
            f"{why}, and policy {approval.policy} wants another person",
            f"{command('approvals', 'show', approval.id)}    then another person approves it",
        )


def _is_known_at(host: str, party: Party) -> bool:
    return any(kind_of(each) == host for each in party.accounts)


def _why_same(approval: Approval, decision: Decision) -> str:
    """Return why somebody is no other person than who asked; empty when they are, or may be."""
    asker, party = approval.behind, decision.behind
    match likeness(asker, party):
        case Likeness.SAME:
            return "they asked for it"
        case Likeness.MADE_BY if set(asker.accounts).isdisjoint(party.makers):
            return "they made the token that asked for it"
        case Likeness.MADE_BY:
            return "whoever asked made their token"
        case Likeness.OTHER | Likeness.UNKNOWN:
            return ""


def _token_of_person(approval: Approval) -> str:
    return command("token", "create", "--role", "operator", "--states", approval.state, "--person", "NAME")


def _not_approved_by(approval: Approval, decision: Decision, why: str, fix: str) -> PolicyGate:
    what = f"{decision.who} may not approve {approval.id}"
    return PolicyGate(what, why=why, fix=fix, rule="approvals", policy=approval.policy)


def how_to_approve(approval: Approval) -> str:
    """Return what a person types to approve a request: a command, or where one is read a comment."""
    typed = command("approve", approval.id, "--reason", "TEXT")
    if not approval.comments_on:
        return typed
    return f"{typed}    or as a comment on a pull request: {comment_line(approval, Verdict.APPROVE)}"


def comment_line(approval: Approval, verdict: Verdict) -> str:
    """Return the line of a comment that decides a request. It names what was seen, so it is good for nothing else."""
    return f"{COMMENT_PREFIX} {verdict.value} {approval.id} {_bare(approval.digest)[:DIGEST_SHOWN]} REASON"


def used(approval: Approval, *, by: str, digest: str, now: datetime) -> Approval:
    """Return the request, used up by a run that is about to act on it; the same object when it did so already.

    Args:
        approval: The request.
        by: The run, or the process, that acts.
        digest: Of what it is about to do: the request's own, or the essence of its plan.
        now: Aware UTC instant.

    Raises:
        PolicyGate: It is not approved, or is over.
        PlanStale: It is for something else.
    """
    if by and (approval.used_by, approval.used_digest) == (by, digest):
        return approval  # the answer to the first attempt was lost
    if by and approval.used_by == by:  # a second attempt of the run, with what it planned after the first had begun
        raise _other_plan(approval)
    check_approved(approval, now)
    if not is_for(approval, digest):
        raise _other_plan(approval)
    return replace(approval, used_by=by, used_digest=digest, used_at=now)


def is_for(approval: Approval, digest: str) -> bool:
    """Say whether a request is for what has this digest, or for a plan of this essence."""
    return digest == approval.digest or (approval.plan is not None and digest == approval.plan.essence)


def _other_plan(approval: Approval) -> PlanStale:
    return PlanStale(
        f"approval {approval.id} is for another plan",
        why=f"it was given for {approval.digest[:24]}",
        fix=command("approvals", "show", approval.id),
    )


def check_approved(approval: Approval, now: datetime) -> None:
    """Refuse to act on a request that is not approved.

    Raises:
        PolicyGate: It waits, or is over.
    """
    current = standing(approval, now)
    if current is Standing.APPROVED:
        return
    if current is Standing.WAITING:
        missing, doubt = approval.needed - approval.approved, doubt_of(approval)
        said = f"policy {approval.policy} wants {approval.needed}, {missing} missing"
        raise PolicyGate(
            f"{approval.id} waits for approval",
            why=f"{said}{f'; {doubt}' if doubt else ''}; nothing was changed",
            fix=how_to_approve(approval),
            rule="approvals",
            policy=approval.policy,
            approval=approval.id,
        )
    raise PolicyGate(
        f"{approval.id} has no valid approval",
        why=f"{why_over(approval, current)}; nothing was changed",
        fix=next_of(approval),
        rule="approvals",
        policy=approval.policy,
        approval=approval.id,
    )


def check_state(approval: Approval, state: str) -> None:
    """Refuse to act on a request at another state: who approved it may have no say there.

    Two states may have equal plans, as two new ones of one configuration have, so the digest does not tell them apart.

    Raises:
        PolicyGate: It is for another state.
    """
    if approval.state != state:
        raise PolicyGate(
            f"{approval.id} is not for state {state}",
            why=f"approval was asked for state {approval.state}, and is good for no other; nothing was changed",
            fix=command("approvals", "show", approval.id),
            rule="approvals",
            policy=approval.policy,
            approval=approval.id,
        )


def replaced(approval: Approval, *, by: str) -> Approval:
    """Return a request whose place another one takes; one that is used stays as it is."""
    return approval if approval.used_by or approval.replaced_by else replace(approval, replaced_by=by)


def why_over(approval: Approval, now: Standing) -> str:
    """Return why nothing can come of a request any more."""
    match now:
        case Standing.USED:
            return f"run {approval.used_by} acted on it"
        case Standing.REPLACED:
            return f"the plan is another one now: {approval.replaced_by} asks for it"
        case Standing.REJECTED:
            said = next(one for one in approval.decisions if one.verdict is Verdict.REJECT)
            return f'{said.who} rejected it: "{said.reason}"'
        case Standing.EXPIRED:
            return f"it was good until {spelled(approval.expires_at)}"
        case Standing.WAITING | Standing.APPROVED:
            return "it is open"


def next_of(approval: Approval) -> str:
    """Return the command that comes next for a request that is over."""
    if approval.replaced_by:
        return command("approvals", "show", approval.replaced_by)
    if approval.plan is not None:
        named = ("--state", approval.plan.named) if approval.plan.named else ()
        return command(approval.plan.operation, approval.plan.directory, *named)
    return command("approvals", "ls")


def _bare(digest: str) -> str:
    return digest.removeprefix("sha256:").lower()


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > REASON_MAX or not reason.isprintable():
        raise UsageError(
            "a decision needs a reason",
            why=f"who looks at it later reads it; it is one line of at most {REASON_MAX} characters",
            fix="repeat with --reason TEXT",
        )


def encode(approval: Approval) -> bytes:
    """Return the stored form."""
    return msgspec.json.encode(approval)


def decode(data: bytes, name: str) -> Approval:
    """Read a stored request.

    Args:
        data: Its stored form.
        name: Its id, as the record's key has it.

    Raises:
        StateInvalid: It cannot be read, is another one, or a newer release wrote it: nothing may be done on it.
    """
    what = f"request {name[:40]!a} for approval cannot be read"
    try:
        approval = decode_json(data, type=Approval)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateInvalid(what, why=reason_of(error), fix=command("approvals", "ls")) from error
    if approval.schema > PARTY_SCHEMA:
        raise StateInvalid(what, why="a newer Interlock wrote it", fix="update Interlock")
    if approval.id != name:
        raise StateInvalid(what, why="it says that it is another one", fix=command("approvals", "ls"))
    return approval
