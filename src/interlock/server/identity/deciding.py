"""What a job gets for its identity token: claims, rules and what it asks for, to a grant or a refusal. Pure.

Nothing is granted that no rule says. Among the rules that fit, the one with the least role that is enough is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from interlock.persons import login_account
from interlock.rights import Role, matches
from interlock.server.identity.claims import Claims
from interlock.server.identity.platforms import PLATFORMS, Platform
from interlock.server.identity.rules import LASTS_S_MAX, TrustRule, fits, may_write

PERSON_LASTS_S = 43_200.0
"""A person logs in again after so long: a day's work."""
_ROLES = tuple(Role)
_SHOWN_CHARS = 120
_ACCOUNTS = {Platform.GITHUB: ("actor_id", "actor"), Platform.GITLAB: ("user_id", "user_login")}
"""The claims that name the account which began a job. Azure's tokens name a service connection, and no person."""
_PROGRAM = re.compile(r".*\[bot\]|(?:project|group)_\d+_bot(?:_.*)?", re.ASCII | re.DOTALL)
"""How GitHub and GitLab call accounts of programs: whoever had one begin a job could approve it as another person."""
_RUN = re.compile(r"[0-9a-hjkmnp-tv-z]{16}\Z", re.ASCII)
TOLD = (
    *("repository_id", "run_id", "run_attempt", "ref", "environment", "event_name", "job_workflow_ref", "actor_id"),
    *("project_id", "pipeline_id", "job_id", "pipeline_source", "ref_protected", "user_id"),
    *("org_id", "prj_id", "def_id", "rpo_ref", "organization_id", "service_connection_id"),
)
"""Claims that the audit log keeps of a job: ids and flags, and no names of people."""


class Because(Enum):
    """Why nothing is granted."""

    NO_RULE = "no-rule"
    STATE = "state"
    ROLE = "role"
    EVENT = "event"


class Asked(Struct, frozen=True, kw_only=True):
    """What a job asks for.

    Attributes:
        state: The state that it works on; "" for all that a person may reach.
        run: The run that it is for; "" for none yet.
        role: What it wants to be; None for what the rules give.
    """

    state: str
    run: str = ""
    role: Role | None = None


class Granted(Struct, frozen=True, kw_only=True):
    """What a job gets.

    Attributes:
        rule: The rule that gives it.
        role: What it may do.
        state: To this state alone; for a person to those of a glob.
        run: For this run alone; "" for any.
        lasts_s: For so long.
        job: Which job it is, or which person, for people.
        facts: What the audit log keeps of the token.
        account: See `Binding.account`.
        accounts: Further ones of a person, by the rules that name them.
    """

    rule: str
    role: Role
    state: str
    run: str
    lasts_s: float
    job: str
    facts: Mapping[str, str]
    account: str = ""
    accounts: tuple[str, ...] = ()


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a job gets nothing.

    Attributes:
        because: Its kind.
        why: For people, from what the job itself said; of rules for other projects it tells nothing.
    """

    because: Because
    why: str


def is_run(text: str) -> bool:
    """Say whether a text can be the id of a run."""
    return _RUN.match(text) is not None


def decide(claims: Claims, rules: Iterable[TrustRule], asked: Asked) -> Granted | Refusal:
    """Return what a token gives to whoever shows it.

    Args:
        claims: Of a token whose signature, audience and instants are good.
        rules: Those of its issuer.
        asked: What it is to be good for.
    """
    of_project = [rule for rule in rules if rule.platform is claims.platform and not _ids_differ(rule, claims)]
    fitting = [rule for rule in of_project if not _difference(rule, claims)]
    if not fitting:
        why = (
            f"no trust rule is for this {'person' if claims.platform is Platform.PERSON else 'project'}"
            if not of_project
            else _differences(of_project, claims)
        )
        return Refusal(because=Because.NO_RULE, why=why)
    if not asked.state and claims.platform is not Platform.PERSON:
        return Refusal(because=Because.STATE, why="it names no state, and the token of a job is for one")
    here = [rule for rule in fitting if not asked.state or matches(rule.states, asked.state)]
    if not here:
        return Refusal(because=Because.STATE, why=f"no trust rule that fits this job is for the state {asked.state}")
    enough = sorted((rule for rule in here if _is_enough(rule, asked)), key=_by_role)
    if not enough:
        role = asked.role.value if asked.role is not None else ""
        return Refusal(because=Because.ROLE, why=f"no trust rule that fits this job gives the role {role}")
    open_ = [rule for rule in enough if not _event_fault(rule, claims)]
    if not open_:
        return Refusal(because=Because.EVENT, why=_event_fault(enough[0], claims))
    granted = _grant(open_[-1 if asked.role is None else 0], claims, asked)
    named = dict.fromkeys(account for rule in fitting for account in rule.accounts)
    return replace(granted, accounts=tuple(named))


def _is_enough(rule: TrustRule, asked: Asked) -> bool:
    return asked.role is None or _rank(rule.role) >= _rank(asked.role)


def _grant(rule: TrustRule, claims: Claims, asked: Asked) -> Granted:
    facts = {name: ",".join(found)[:_SHOWN_CHARS] for name in TOLD if (found := claims.values(name))}
    ids = [*PLATFORMS[rule.platform].needed, *(name for name in ("run_id", "job_id") if name in facts)]
    is_person = rule.platform is Platform.PERSON
    job = (
        _person(claims)
        if is_person
        else " ".join(f"{name} {facts[name]}" for name in dict.fromkeys(ids) if name in facts)
    )
    return Granted(
        rule=rule.name,
        role=asked.role or rule.role,
        state=asked.state or rule.states,
        run=asked.run,
        lasts_s=PERSON_LASTS_S if is_person else LASTS_S_MAX,
        job=f"{rule.platform.value} {job}".strip(),
        facts=facts,
        account=_account(claims),
    )


def _account(claims: Claims) -> str:
    """Return the account that began a job, or that of a person: who approves must be another one.

    A person may change what they are called, and each login gives them another token. `sub` stays.
    """
    if claims.platform is Platform.PERSON:
        sub = claims.values("sub")
        return login_account(sub[0], ",".join(claims.values("iss"))) if len(sub) == 1 else ""
    if claims.platform not in _ACCOUNTS:
        return ""
    ids, logins = map(claims.values, _ACCOUNTS[claims.platform])
    is_known = len(ids) == 1 and ids[0].isascii() and ids[0].isdecimal()
    return f"{claims.platform.value}:{ids[0]}" if is_known and not any(map(_PROGRAM.fullmatch, logins)) else ""


def _person(claims: Claims) -> str:
    """Return who a person is: a name that people know, which proves nothing, and the id that does."""
    names = ("preferred_username", "email", "name")
    known = next((found[0] for name in names if (found := claims.values(name))), "")
    whole = f"{known} (sub {','.join(claims.values('sub'))})".strip()
    return "".join(character if character.isprintable() else "?" for character in whole)[:_SHOWN_CHARS]


def _ids_differ(rule: TrustRule, claims: Claims) -> bool:
    names = PLATFORMS[rule.platform].needed or tuple(rule.claims)
    return any(_claim_differs(rule, name, claims) for name in names)


def _claim_differs(rule: TrustRule, name: str, claims: Claims) -> bool:
    said = claims.values(name)
    return not any(fits(pattern, value) for pattern in rule.claims.get(name, ()) for value in said)


def _difference(rule: TrustRule, claims: Claims) -> str:
    """Return the first claim in which a token differs from a rule; empty when it fits."""
    return next((name for name in rule.claims if _claim_differs(rule, name, claims)), "")


def _differences(rules: Iterable[TrustRule], claims: Claims) -> str:
    told = []
    for rule in rules:
        name = _difference(rule, claims)
        said = ",".join(claims.values(name))[:_SHOWN_CHARS] or "nothing"
        told.append(f"rule {rule.name} wants {name} {' or '.join(rule.claims[name])}, the token says {said}")
    return "; ".join(told[:3])


def _event_fault(rule: TrustRule, claims: Claims) -> str:
    """Return why what started the job lets it write nothing.

    Whoever opens a pull request, comments or forks starts jobs of these kinds, some of them with the rights of the
    branch. A rule that wants them names them.
    """
    facts = PLATFORMS[rule.platform]
    if not facts.event or not may_write(rule.role) or facts.event in rule.claims:
        return ""
    said = claims.values(facts.event)
    if said and all(each in facts.usual for each in said):
        return ""
    shown = ",".join(said)[:_SHOWN_CHARS] or "nothing that we know of"
    return f"{shown} started this job; a rule for a {rule.role.value} must name {facts.event} to let it in"


def _rank(role: Role) -> int:
    return _ROLES.index(role)


def _by_role(rule: TrustRule) -> tuple[int, str]:
    return _rank(rule.role), rule.name
