"""What a scan finds: objects that changed or went outside Terraform, flows published elsewhere, objects nobody manages.

Knows: the values and their stored form. Knows nothing of plans, the API or stores. Values of sensitive attributes are
masked before they get here; what remains of them is a salted digest, so that a decision can name the exact value.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any

import msgspec

from interlock.errors import UsageError, command, reason_of

SCHEMA = 1
"""Version of the stored form; a reader refuses a higher one."""
MASK = "(sensitive value)"


class Kind(Enum):
    """What happened to an object."""

    CHANGED = "changed"
    GONE = "gone"
    CONTENT = "content"
    """A flow was published elsewhere; the provider cannot see it."""
    UNMANAGED = "unmanaged"
    """It exists only in the organisation."""


class Verdict(Enum):
    """What is to be thought of it."""

    OPEN = "open"
    """Nobody has decided."""
    IN_FLIGHT = "in-flight"
    """A run with our own credentials changed it while the scan ran; the next scan will tell."""
    REVERT = "to-revert"
    IMPORT = "to-import"
    ACCEPTED = "accepted"
    NOISE = "noise"

    @property
    def rank(self) -> int:
        """Order in which a finding of several attributes takes its verdict: what needs a person first."""
        return list(Verdict).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute that differs.

    Attributes:
        path: Such as `media_settings_call[0].alerting_timeout_sec`; empty when the whole object is meant.
        before: As the state has it; `MASK` in place of a secret.
        after: As the organisation has it; `MASK` in place of a secret.
        digest: Salted SHA-256 of `after`, see `digest_of`.
        reason: Why it is noise, or who decided.
        suggestion: The line of configuration that means `after`; empty when it must not or cannot be written.
    """

    path: str
    before: Any = None
    after: Any = None
    sensitive: bool = False
    digest: str = ""
    verdict: Verdict = Verdict.OPEN
    reason: str = ""
    suggestion: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Who did it, as the audit log tells.

    Attributes:
        who: Name of the user, or of the OAuth client where there was no user.
        user: Id of the user; empty for none.
        client: Id of the OAuth client; empty for none.
        action: The log's word, such as `Update`.
        at: When, by the organisation's clock.
        ours: It was the OAuth client that Terraform uses.
        run: With it, while this run was under way; empty when none is known that was.
        outside: With it, while none of the runs that are known was under way: by a script, a plain Terraform, a run of
            another home.
    """

    who: str
    user: str = ""
    client: str = ""
    action: str = ""
    at: datetime
    ours: bool = False
    run: str = ""
    outside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One object.

    Attributes:
        address: Its address in the state; for an unmanaged object the one proposed.
        type: Resource type.
        object: Its id in the organisation.
        name: Its name there.
        division: Name of its division, where known.
        dependents: How many objects of the state depend on it.
        generated: Configuration for an unmanaged object; empty when none could be generated.
        hint: What a person must know to write or complete that configuration.
    """

    kind: Kind
    address: str
    type: str
    object: str
    name: str = ""
    division: str = ""
    attributes: tuple[Attribute, ...] = ()
    cause: Cause | None = None
    dependents: int = 0
    generated: str = ""
    hint: str = ""

    @property
    def verdict(self) -> Verdict:
        """The verdict of the attribute that needs a person most."""
        return min((each.verdict for each in self.attributes), key=lambda each: each.rank, default=Verdict.OPEN)

    @property
    def shown(self) -> tuple[Attribute, ...]:
        """The attributes that are not noise."""
        return tuple(each for each in self.attributes if each.verdict is not Verdict.NOISE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One look at a state and its organisation.

    Attributes:
        state: State name.
        run: The run that looked.
        at: When the scan began.
        since: When the state was last written; None when there is none.
        salt: Of the digests of this scan.
        looked_for: Resource types whose unmanaged objects were listed.
        elsewhere: How many of the listed objects other states of this store manage.
        notes: What could not be looked at, and why.
    """

    schema: int = SCHEMA
    state: str
    run: str
    at: datetime
    since: datetime | None = None
    salt: str = field(default="", repr=False)
    findings: tuple[Finding, ...] = ()
    looked_for: tuple[str, ...] = ()
    elsewhere: int = 0
    notes: tuple[str, ...] = ()

    def of(self, *verdicts: Verdict) -> tuple[Finding, ...]:
        """Return the findings with one of these verdicts."""
        return tuple(each for each in self.findings if each.verdict in verdicts)

    @property
    def open(self) -> tuple[Finding, ...]:
        """The findings that nobody has decided."""
        return self.of(Verdict.OPEN)

    def counts(self) -> dict[str, int]:
        """Return how many findings there are of each verdict, and of the open ones of each kind."""
        by_verdict = {each.value: len(self.of(each)) for each in Verdict}
        kinds = [each.kind for each in self.open]
        return {**by_verdict, **{kind.value: kinds.count(kind) for kind in Kind}}


def choices(address: str, state: str) -> str:
    """Return the commands that decide about one drifted object, for a hint."""
    named = (address, "--state", state)
    return f"{command('drift', 'accept', *named)}    or: {command('drift', 'revert', *named)}"


def digest_of(value: object, salt: str) -> str:
    """Return a digest that names a value exactly and tells nothing of it to whoever lacks the salt and a guess."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(f"{salt}\n{text}".encode()).hexdigest()


def encode_scan(scan: Scan) -> bytes:
    """Return a scan in its stored form."""
    return msgspec.json.encode(scan)


def decode_scan(stored: bytes) -> Scan:
    """Read a stored scan.

    Raises:
        UsageError: It is none, or a newer Interlock wrote it.
    """
    try:
        scan = msgspec.json.decode(stored, type=Scan)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError("the last scan cannot be read", why=reason_of(error), fix="interlock drift") from error
    if scan.schema > SCHEMA:
        raise UsageError("a newer Interlock wrote the last scan", fix="upgrade Interlock, or scan again")
    return scan


def without_digests(findings: tuple[Finding, ...]) -> Iterator[Finding]:
    """Yield the findings for other eyes: a digest of a short secret can be guessed."""
    for finding in findings:
        yield replace(finding, attributes=tuple(replace(each, digest="") for each in finding.attributes))
