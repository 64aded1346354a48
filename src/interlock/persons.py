"""Who is behind credentials, and whether two are the same person. Pure: the one place where that is decided.

A token is no person: one person may have several, a login beside them, an account at a code host, and accounts of a
machine. What is known of a person are *accounts*, each of one kind:

    name:anna                               the name that an administrator gave when they made a token for a person
    person:SUB ISSUER                       somebody who logs in, by their id at the provider
    github:583231, gitlab:42                an account at a code host
    os:anna@laptop                          an account of a machine
    token:ID                                a token that names nobody: a program's, or of whoever was given it

Two are told apart within one kind alone: github:1 and github:2 are two, github:1 and name:anna may be one. So where a
person asks who is not known in the kind in which others agree, one of those may be the asker, and one more must agree;
and tokens that name nobody may all be the asker's. Where a program asks (a token that names nobody, a CI job), whoever
agrees counts; who began a job is kept from it where their accounts are linked.
Tokens that name nobody were given to somebody each, and are counted each: a team may have no others.
Whoever made a token counts as a person behind it too, since they have seen its secret. Where they came with a token
that names nobody they do not, or nobody could agree to what the first administrator asks for; and where it was made at
the store, only the account of that machine is kept from agreeing, or all pipelines would be that account's.
Beware: administrators who name persons that do not exist are believed. They may also take the policy away; both are
in the audit log.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from msgspec import Struct

from interlock.errors import UsageError

NAME, LOGIN, MACHINE, TOKEN = "name", "person", "os", "token"
CODE_HOSTS = ("github", "gitlab")
ACCOUNTS_MAX = 10
_CHARS_MAX = 600  # an `iss` and a `sub` have 255 characters each at most
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,99}\Z", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,18}\Z", re.ASCII)


class Party(Struct, frozen=True, kw_only=True):
    """Who may be behind credentials.

    Attributes:
        accounts: Of the one person who has them; empty where it is not known who that is.
        makers: Accounts of those who made them, and of those who made the makers'.
        is_job: A CI job has them, and the accounts are of the person who began it.
    """

    accounts: tuple[str, ...] = ()
    makers: tuple[str, ...] = ()
    is_job: bool = False

    @property
    def everybody(self) -> tuple[str, ...]:
        """All accounts of persons behind them, each once."""
        named = (each for each in self.accounts if kind_of(each) != TOKEN)
        return tuple(dict.fromkeys((*named, *self.makers)))

    @property
    def is_person(self) -> bool:
        """Whether a person may ask with them, and not a CI job alone or a program whose token was made at the store."""
        is_made = any(not each.startswith(f"{MACHINE}:") for each in self.makers)
        return is_made or not (self.is_job or self.names_nobody)

    @property
    def names_nobody(self) -> bool:
        """Whether they may be anybody's."""
        return all(kind_of(each) == TOKEN for each in self.accounts)


class Likeness(Enum):
    """Whether two parties are one person."""

    SAME = "same"
    MADE_BY = "made-by"
    """One of them made the credentials of the other."""
    OTHER = "other"
    UNKNOWN = "unknown"


def likeness(one: Party, other: Party) -> Likeness:
    """Say whether two parties are one person."""
    if not set(one.accounts).isdisjoint(other.accounts):
        return Likeness.SAME
    if not set(one.accounts).isdisjoint(other.makers) or not set(one.makers).isdisjoint(other.accounts):
        return Likeness.MADE_BY
    return Likeness.UNKNOWN if _kinds(one).isdisjoint(_kinds(other)) else Likeness.OTHER


class Count(Struct, frozen=True, kw_only=True):
    """How many persons agree.

    Attributes:
        persons: So many there are at least, beside the one who asks where they do not count.
        speakers: Places of those who are counted.
        is_doubtful: One of the speakers may be the one who asks.
    """

    persons: int
    speakers: tuple[int, ...] = ()
    is_doubtful: bool = False


def count_others(asker: Party, parties: Sequence[Party]) -> Count:
    """Return how many persons agree who are not the one who asks, at the very least.

    Where a person asks and may be one of them, one is taken off: at most one of several persons is the asker.

    Args:
        asker: Who asks.
        parties: Who agree, the first ones first.
    """
    fitting = [place for place, one in enumerate(parties) if _may_be_other(asker, one)]
    return _count(fitting, parties, known_in=_kinds(asker) if asker.is_person else None)


def _may_be_other(asker: Party, one: Party) -> bool:
    if asker.is_person and one.names_nobody:
        return False
    return likeness(asker, one) in {Likeness.OTHER, Likeness.UNKNOWN}


def count_all(parties: Sequence[Party]) -> Count:
    """Return how many persons agree at the very least, where the one who asks counts too.

    Args:
        parties: Who agree, the first ones first. One of whom it is not known who they are may be any of the others.
    """
    return _count(range(len(parties)), parties, known_in=None)


def _count(places: Sequence[int], parties: Sequence[Party], *, known_in: frozenset[str] | None) -> Count:
    """Count those at these places.

    Args:
        places: Theirs.
        parties: All.
        known_in: Kinds in which it is known who asks, who may be one of them in any other; None where no person asks,
            or they count too.
    """
    kinds = dict.fromkeys(kind for place in places for kind in sorted(_kinds(parties[place])))
    counts = [_count_kind(kind, places, parties, doubt=known_in is not None and kind not in known_in) for kind in kinds]
    alone = [Count(persons=1, speakers=(places[0],))] if places and known_in is None else []
    return max((*counts, *alone), key=_by_persons, default=Count(persons=0))


def _count_kind(kind: str, places: Sequence[int], parties: Sequence[Party], *, doubt: bool) -> Count:
    found: list[int] = []
    for place in places:
        fits = kind in _kinds(parties[place])
        if fits and all(likeness(parties[place], parties[each]) is Likeness.OTHER for each in found):
            found.append(place)
    return Count(persons=len(found) - doubt, speakers=tuple(found), is_doubtful=doubt)


def _by_persons(count: Count) -> tuple[int, int]:
    return count.persons, len(count.speakers)


def _kinds(party: Party) -> frozenset[str]:
    return frozenset(map(kind_of, party.accounts))


def kind_of(account: str) -> str:
    """Return within what an account is told apart from others: of who logs in the provider, of a machine its name."""
    head, _, rest = account.partition(":")
    match head:
        case "person":
            return f"{head} {rest.rpartition(' ')[2] if ' ' in rest else ''}".strip()
        case "os":
            return f"{head} {rest.rpartition('@')[2] if '@' in rest else ''}".strip()
        case _:
            return head


def is_at_code_host(account: str) -> bool:
    """Say whether an account is one at a code host, as that of whoever began a CI job."""
    return kind_of(account) in CODE_HOSTS


def login_account(sub: str, issuer: str) -> str:
    """Return the account of somebody who logs in: an id is one person's at its own provider alone."""
    return f"{LOGIN}:{sub} {issuer}"


def token_account(key: str) -> str:
    """Return the account that stands for a token which names nobody.

    Args:
        key: What the token is known by, no secret.
    """
    return f"{TOKEN}:{key}"


def machine_account(person: str) -> str:
    """Return the account of a machine; see `interlock.host.person`."""
    return f"{MACHINE}:{person}"


def read_accounts(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the accounts of one person, as an administrator names them, each once.

    Args:
        texts: A name such as `anna`, or an account: `github:583231`, `person:SUB ISSUER`.

    Raises:
        UsageError: One of them is none, there are too many, or two of one kind.
    """
    found = tuple(dict.fromkeys(map(_read_account, texts)))
    if len(found) > ACCOUNTS_MAX:
        raise UsageError("the person is not usable", why=f"{len(found)} accounts are named, {ACCOUNTS_MAX} at most")
    kinds = [kind_of(each) for each in found]
    twice = next((kind for kind in kinds if kinds.count(kind) > 1), "")
    if twice:
        raise UsageError(
            "the person is not usable", why=f"two accounts of {twice} are two persons", fix="make a token for each"
        )
    return found


def _read_account(text: str) -> str:
    head, colon, rest = text.strip().partition(":")
    if not colon:
        name = head.lower()  # Anna and anna are one
        if _NAME.match(name):
            return f"{NAME}:{name}"
    elif head in CODE_HOSTS and _NUMBER.match(rest):
        return f"{head}:{rest}"
    elif head == NAME and _NAME.match(rest.lower()):
        return f"{NAME}:{rest.lower()}"
    elif head == LOGIN and rest.isprintable() and len(rest) <= _CHARS_MAX and _has_issuer(rest):
        return text.strip()
    raise UsageError(
        f"{text[:80]!a} names no person",
        why="a name has letters, digits and . _ @ + -; an account is known by its number, and who logs in by id and "
        "provider",
        fix="write it like anna, github:583231 or 'person:SUB https://ISSUER'",
    )


def _has_issuer(rest: str) -> bool:
    sub, _, issuer = rest.rpartition(" ")
    return bool(sub.strip()) and issuer.startswith(("https://", "http://"))
