"""Trust rules: which jobs of which CI system get which role on which states. Pure.

A rule without the platform's ids is refused, and one that lets a job write names what protects that job's branch or
environment. What started the job counts too: see `PlatformFacts.usual`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from interlock.errors import UsageError, command
from interlock.instants import Instant
from interlock.persons import read_accounts
from interlock.rights import Right, Role, check_glob, may
from interlock.server.identity.platforms import NEVER, NEVER_OF_PERSONS, PLATFORMS, VSTOKEN_ENDS_AT, Platform
from interlock.settings.authority import check_address

SCHEMA = 1
ACCOUNTS_SCHEMA = 2
"""Of a rule that names accounts of its person: a release that knows nothing of them would forget them."""
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""What identity tokens may be signed with. Never a shared secret (HS256): its key would be public."""
LASTS_S_MAX = 900.0
RULES_MAX = 500
CLAIMS_MAX = 20
_VALUES_MAX = 20
_VALUE_CHARS_MAX = 512
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z", re.ASCII)
_CLAIM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:-]{0,127}\Z", re.ASCII)
_BOUNDS = re.compile(r"([/:])")
_FOR_PERSONS = frozenset({Role.OPERATOR, Role.ADMIN})


class Issuer(Struct, frozen=True, kw_only=True):
    """Who signs identity tokens, and how that is checked.

    Attributes:
        url: As `iss` spells it; compared whole.
        audience: What `aud` must name; "" for our own address.
        keys_url: Where its public keys are; "" where its own discovery document, found at `url`, says.
        algorithms: What it signs with.
    """

    url: str
    audience: str = ""
    keys_url: str = ""
    algorithms: tuple[str, ...] = ("RS256",)


class TrustRule(Struct, frozen=True, kw_only=True):
    """One rule.

    Attributes:
        name: By which people find it.
        platform: Whose tokens.
        issuer: Who signs them.
        claims: What the token must say: one of the values for each claim. `*` stands for anything but `/` and `:`.
        role: What the job may do, at most.
        states: A glob over the states to which.
        made_by: Who made it.
        made_at: When.
        accounts: Further ones of the one person whom it names, as `interlock.persons` spells them.
        schema: Version of this record's format.
    """

    name: str
    platform: Platform
    issuer: Issuer
    claims: Mapping[str, tuple[str, ...]]
    role: Role
    states: str
    made_by: str = ""
    made_at: Instant | None = None
    accounts: tuple[str, ...] = ()
    schema: int = SCHEMA


def of_accounts(rule: TrustRule, named: Sequence[str]) -> TrustRule:
    """Return a rule that says which further accounts are those of its person.

    Args:
        rule: It.
        named: See `interlock.persons.read_accounts`.

    Raises:
        UsageError: One of them is none.
    """
    accounts = read_accounts(named)
    return replace(rule, accounts=accounts, schema=ACCOUNTS_SCHEMA if accounts else SCHEMA)


def check_rule(rule: TrustRule) -> TrustRule:
    """Return a rule that says enough.

    Raises:
        UsageError: It would let in whom nobody meant.
    """
    if not _NAME.match(rule.name):
        raise _bad(rule, "its name is not usable", "use lower-case letters, digits, '.', '_' and '-'")
    check_glob(rule.states)
    if rule.role in _FOR_PERSONS and rule.platform is not Platform.PERSON:
        why = f"{rule.role.value} decides over locks, approvals and others, which is for persons"
        raise _bad(rule, why, "give a job reader, planner or runner")
    _check_issuer(rule)
    _check_claims(rule)
    _check_accounts(rule)
    return rule


def may_write(role: Role) -> bool:
    """Say whether a role changes states."""
    return may(role, "**", Right.APPLY, "any")


def fits(pattern: str, value: str) -> bool:
    """Say whether a pattern names a value: `*` stands for anything within a part between `/` and `:`, also nothing."""
    wanted, given = _BOUNDS.split(pattern), _BOUNDS.split(value)
    return len(wanted) == len(given) and all(map(_fits_part, wanted, given))


def warnings_of(rule: TrustRule, now: datetime) -> tuple[str, ...]:
    """Return what the operator should know about a rule that is good."""
    found = []
    if rule.platform is Platform.AZURE:
        over = now >= VSTOKEN_ENDS_AT
        found.append(f"Azure DevOps {'has retired' if over else 'retires'} this issuer on {VSTOKEN_ENDS_AT:%Y-%m-%d}")
    if rule.platform is Platform.OTHER and may_write(rule.role) and len(rule.claims) == 1:
        found.append(f"{next(iter(rule.claims))} alone: does it also say which branch or environment the job is of?")
    return tuple(found)


def _fits_part(pattern: str, value: str) -> bool:
    """Match what stands between two stars from left to right, in a time that rises with the lengths alone."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == value
    *middle, last = rest
    if not value.startswith(first):
        return False
    at = len(first)
    for text in middle:
        found = value.find(text, at)
        if found < 0:
            return False
        at = found + len(text)
    return len(value) - len(last) >= at and value.endswith(last)


def _check_issuer(rule: TrustRule) -> None:
    issuer = rule.issuer
    known = _platform_of(issuer.url)
    people = {Platform.GITLAB, Platform.AZURE_ENTRA}  # people log in there too
    own = people if rule.platform is Platform.PERSON else {rule.platform}
    if known is not None and known not in own:
        raise _bad(rule, f"{issuer.url} is the issuer of {known.value}", f"use --platform {known.value}")
    for url in filter(None, (issuer.url, issuer.keys_url)):
        if any(character.isspace() or not character.isprintable() for character in url):
            raise _bad(rule, "its issuer is not an address", "copy `iss` from the CI system's own documents")
        check_address(url, said_by="the issuer's address")
    if rule.platform is Platform.PERSON and not issuer.audience:
        why = "the tokens of people name the client that they logged in with"
        raise _bad(rule, why, "add --audience CLIENT_ID, as the provider has it for Interlock")
    if not issuer.url:
        raise _bad(rule, "it names no issuer", "copy `iss` from the CI system's own documents")
    unknown = [name for name in issuer.algorithms if name not in ALGORITHMS]
    if unknown or not issuer.algorithms:
        why = f"{unknown[0]!a} is not a public-key signature" if unknown else "it names no algorithm"
        raise _bad(rule, why, f"one of {', '.join(ALGORITHMS)}")


def _check_accounts(rule: TrustRule) -> None:
    """Refuse accounts of more persons than one: all who match would be taken for the same."""
    subs = rule.claims.get("sub", ())
    if rule.accounts and (rule.platform is not Platform.PERSON or len(subs) != 1 or "*" in subs[0]):
        why = "it names accounts, and not the one person whose they are"
        raise _bad(rule, why, "add --platform person --claim sub=ID, the person's id at the provider")
    if read_accounts(rule.accounts) != rule.accounts or (rule.schema == ACCOUNTS_SCHEMA) != bool(rule.accounts):
        raise _bad(rule, "its accounts are not spelled as they are kept", "")


def _platform_of(url: str) -> Platform | None:
    """Return whose issuer this is by all that is known: its rules must name what is needed there."""
    if url.startswith("https://vstoken.dev.azure.com/"):
        return Platform.AZURE
    if url.startswith(("https://login.microsoftonline.com/", "https://sts.windows.net/")):
        return Platform.AZURE_ENTRA
    return next((platform for platform, facts in PLATFORMS.items() if facts.issuer and facts.issuer == url), None)


def _check_claims(rule: TrustRule) -> None:
    facts = PLATFORMS[rule.platform]
    example = " ".join(f"--claim {each}" for each in facts.example)
    if len(rule.claims) > CLAIMS_MAX:
        raise _bad(rule, f"it names more than {CLAIMS_MAX} claims", "split it")
    for name, values in rule.claims.items():
        _check_claim(rule, name, values)
    missing = [name for name in facts.needed if name not in rule.claims]
    if missing:
        why = f"it does not say {missing[0]}: names are given to others once their owner gives them up, ids are not"
        raise _bad(rule, why, f"add --claim {missing[0]}=ID, such as {example}")
    if not rule.claims:
        raise _bad(rule, "it names no claim, so every job of the issuer would do", f"such as {example}")
    if may_write(rule.role) and facts.places and not any(name in rule.claims for name in facts.places):
        why = f"a {rule.role.value} changes states, and without {' or '.join(facts.places)} any branch may"
        raise _bad(rule, why, f"such as {example}")


def _check_claim(rule: TrustRule, name: str, values: tuple[str, ...]) -> None:
    facts = PLATFORMS[rule.platform]
    if rule.platform is Platform.PERSON and name in NEVER_OF_PERSONS:
        why = f"`{name}` says nothing that lasts: it can be changed, or be somebody else's later"
        raise _bad(rule, why, "match groups or sub")
    if rule.platform is not Platform.PERSON and name in NEVER:
        why = f"`{name}` says nothing that lasts; a name in `sub` can be had by somebody else later"
        raise _bad(rule, why, f"match ids: {', '.join(facts.needed) or 'of the project and the branch'}")
    if not _CLAIM.match(name) or (facts.claims and name not in facts.claims):
        raise _bad(rule, f"{name[:80]!a} is not a claim of {rule.platform.value}", f"one of {', '.join(facts.claims)}")
    if not values or len(values) > _VALUES_MAX:
        raise _bad(rule, f"{name} has {len(values)} values", f"name 1 to {_VALUES_MAX}")
    for value in values:
        if not value or len(value) > _VALUE_CHARS_MAX or not value.isprintable():
            raise _bad(rule, f"a value of {name} is not usable", f"print 1 to {_VALUE_CHARS_MAX} characters")
        if "*" in value and (name in facts.needed or not value.strip("*/:")):
            raise _bad(rule, f"{name}={value!a} names too much", "write the id itself" if name in facts.needed else "")


def _bad(rule: TrustRule, why: str, fix: str) -> UsageError:
    return UsageError(f"trust rule {rule.name[:64]!a} is refused", why=why, fix=fix or command("trust", "ls"))
