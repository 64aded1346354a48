"""A root cause: its category, the lines that decide, whether a retry is safe, and the next command.

A category lives in one file of `causes/`: a `Rule` with the signs that give it away.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import islice
from typing import Final

from interlock.diagnosis.message import Kind, Line, Message
from interlock.errors import InterlockError
from interlock.terraform.lockinfo import LockInfo

MAX_SPANS: Final = 5  # deciding places shown of one message


class Category(Enum):
    """What can be wrong with a run; the values are a promise to programs that read `interlock explain --json`."""

    LOCK_HELD = "lock-held"
    LOCK_OWN_LOST_RESPONSE = "lock-own-lost-response"
    LOCK_RELEASE_FAILED = "lock-release-failed"
    BACKEND_THROTTLED = "backend-throttled"
    DIGEST_MISMATCH = "digest-mismatch"
    BACKEND_AUTH = "backend-auth"
    BACKEND_MISSING = "backend-missing"
    STATE_CORRUPT = "state-corrupt"
    STATE_REFUSED = "state-refused"
    STATE_NOT_SAVED = "state-not-saved"
    PLAN_STALE = "plan-stale"
    INIT_REQUIRED = "init-required"
    VERSION_MISMATCH = "version-mismatch"
    PROVIDER_INCONSISTENT = "provider-inconsistent"
    PROVIDER_CRASH = "provider-crash"
    API_RATE_LIMIT = "api-rate-limit"
    API_AUTH = "api-auth"
    API_PERMISSION = "api-permission"
    API_DEPENDENCY = "api-dependency"
    API_VERSION_CONFLICT = "api-version-conflict"
    API_GONE = "api-gone"
    API_FLOW_PUBLISH = "api-flow-publish"
    API_SERVER_ERROR = "api-server-error"
    API_EXISTS = "api-exists"
    NETWORK = "network"
    GATE_REFUSED = "gate-refused"
    TIMEOUT = "timeout"
    CONFIG_ERROR = "config-error"
    REGISTRY = "registry"
    CANCELLED = "cancelled"
    DISK_FULL = "disk-full"


class Retry(Enum):
    """Whether the same command may simply be run again."""

    SAFE = "safe"
    """Nothing was changed; run it again when the cause is gone."""
    AFTER_REPLAN = "after-replan"
    """Something may have been changed: make a new plan, look at it, apply that."""
    NO = "no"
    """It would fail again, or make things worse, until somebody has acted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the log had said before the message at hand.

    Attributes:
        begun: Resources were being changed.
        began_at: When the Terraform command began, if the log has times.
        version: Product and version of the Terraform that speaks, `terraform 1.11.4`; empty when the log does not say.
        hosts: Machines that the log comes from.
        own_locks: Lock ids that this run is known to have asked for.
        is_excerpt: Nothing stood before the message: what the run did before its error is not known.
    """

    begun: bool = False
    is_excerpt: bool = False
    began_at: datetime | None = None
    version: str = ""
    hosts: frozenset[str] = frozenset()
    own_locks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a message names, for advice and error texts; empty where it names nothing.

    Attributes:
        lock: Holder of the lock.
        api_status: HTTP status that the API answered, 0 without one.
        api_message: What the API said.
        correlation_id: For a support case with the API's vendor.
        permission: The missing permission, such as `routing:queue:add`.
        other: The other object that is in the way.
        path: The state's address in its backend.
        in_flight: Operations whose end Terraform did not wait for.
        backend: Terraform's word for the backend that the log speaks of: `s3`, `azurerm`, `cloud`, ...
        tool: The program to type, `terraform` or `tofu`.
        meant: The provider's source address that Terraform itself proposes.
        sent: A request that changes something was sent, whatever came of it.
    """

    address: str = ""
    lock: LockInfo | None = None
    api_status: int = 0
    api_message: str = ""
    correlation_id: str = ""
    permission: str = ""
    other: str = ""
    path: str = ""
    in_flight: tuple[str, ...] = ()
    backend: str = ""
    tool: str = "terraform"
    meant: str = ""
    sent: bool = False

    @property
    def provider(self) -> str:
        """The provider that the error came from: `genesyscloud`, `aws`, ...; empty when no address tells."""
        return _provider_of(self.address, self.resource_type)

    @property
    def resource_type(self) -> str:
        """The type of the resource that is named, `genesyscloud_routing_queue`; empty for a data source."""
        return _type_of(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One cause, as it is shown.

    Attributes:
        lines: The deciding lines.
        next: The next command or action.
        error: The class, and so the exit status, of a supervised run that fails of it.
        summary: One sentence of what happened.
        count: How many messages said the same.
        is_echo: Words that only ever follow from another cause; never the root while there is another.
        is_consequence: Another cause of the same log explains it.
        is_cut_off: See `Rule.is_cut_off`.
        is_vague: See `Sign.is_vague`.
        is_reason: It stood inside the error of a state that was not saved, or of a lock that was not released, and
            says why.
    """

    category: Category
    retry: Retry
    lines: tuple[Line, ...]
    next: str
    error: type[InterlockError]
    summary: str
    facts: Facts = field(default_factory=Facts)
    count: int = 1
    is_echo: bool = False
    is_consequence: bool = False
    is_cut_off: bool = False
    is_vague: bool = False
    is_reason: bool = False


Proof = Callable[[Message, Facts, Context], bool]
Advice = Callable[[Facts], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One way to recognise a cause, and what this very wording means where that is not what its rule says.

    The same category asks for different acts: a provider that no registry has will never be found by trying again,
    a registry that is overloaded will.

    Attributes:
        words: Must occur in the text.
        within: Must occur too, if given: the circumstances in which the words mean this.
        unless: Must not occur.
        kinds: In which kinds of message to look.
        is_echo: See `Cause.is_echo`.
        is_vague: Says only what any other sign of the category says more exactly; beside such a one it is not shown.
        meaning, retry, advice, error, proof: In place of the rule's. A sign with an advice has a meaning, since causes
            are the same when category and meaning are.
        retry_before, advice_before: In place of `retry` and `advice` when nothing had been changed yet.
    """

    words: re.Pattern[str]
    within: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None
    kinds: frozenset[Kind] = frozenset({Kind.ERROR})
    is_echo: bool = False
    is_vague: bool = False
    meaning: str = ""
    retry: Retry | None = None
    retry_before: Retry | None = None
    advice: str | Advice | None = None
    advice_before: str | Advice | None = None
    error: type[InterlockError] | None = None
    proof: Proof | None = None

    def find(self, message: Message) -> tuple[tuple[int, int], ...]:
        """Return where the words are in the text, at most `MAX_SPANS` places; none when this is not the cause."""
        if message.kind not in self.kinds:
            return ()
        around = () if self.within is None else _spans(self.within, message.text)
        if self.within is not None and not around:
            return ()
        if self.unless is not None and self.unless.search(message.text):
            return ()
        found = _spans(self.words, message.text)
        return (*found, *around) if found else ()


def _spans(pattern: re.Pattern[str], text: str) -> tuple[tuple[int, int], ...]:
    return tuple(found.span() for found in islice(pattern.finditer(text), MAX_SPANS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How one category is recognised and what is said about it.

    Attributes:
        meaning: What happened, in one sentence for people.
        retry: If a retry is safe; `retry_before` instead when nothing had been changed yet.
        advice: The next command, as a text or made from the facts; `advice_before` when nothing had been changed yet.
        proof: What must hold besides the signs.
        is_cut_off: Terraform ended in the middle of its operations. That somebody cancelled it does not explain it
            away, and the operations are named.
    """

    category: Category
    meaning: str
    retry: Retry
    error: type[InterlockError]
    signs: tuple[Sign, ...]
    advice: str | Advice
    retry_before: Retry | None = None
    advice_before: str | Advice | None = None
    error_before: type[InterlockError] | None = None
    proof: Proof | None = None
    is_cut_off: bool = False

    def find(self, message: Message, facts: Facts, context: Context) -> Cause | None:
        """Return the cause when the message gives it away."""
        for sign in self.signs:
            found = sign.find(message)
            proof = sign.proof or self.proof
            if found and (proof is None or proof(message, facts, context)):
                return self._cause(message, facts, sign, found, before=_is_before_changes(message, facts, context))
        return None

    def _cause(
        self, message: Message, facts: Facts, sign: Sign, found: tuple[tuple[int, int], ...], *, before: bool
    ) -> Cause:
        advice = self._advice(sign, before=before)
        return Cause(
            category=self.category,
            retry=self._retry(sign, before=before),
            lines=message.lines_at(*found),
            next=advice if isinstance(advice, str) else advice(facts),
            error=sign.error or (self.error_before if before and self.error_before is not None else self.error),
            summary=sign.meaning or self.meaning,
            facts=facts,
            is_echo=sign.is_echo,
            is_cut_off=self.is_cut_off,
            is_vague=sign.is_vague,
        )

    def _retry(self, sign: Sign, *, before: bool) -> Retry:
        """Return what the sign says of a retry, or else the rule; of each what holds before the first change first."""
        if sign.retry is not None:
            return sign.retry_before if before and sign.retry_before is not None else sign.retry
        return self.retry_before if before and self.retry_before is not None else self.retry

    def _advice(self, sign: Sign, *, before: bool) -> str | Advice:
        early, late = (sign.advice_before, sign.advice) if sign.advice else (self.advice_before, self.advice)
        return early if before and early else late or self.advice


def _is_before_changes(message: Message, facts: Facts, context: Context) -> bool:
    """Say whether nothing can have been changed when this was said.

    An excerpt that begins with the error of a resource does not show what its run did before. Only what reads, and a
    provider that cannot even start, is known to have changed nothing.
    """
    if context.begun or facts.sent:
        return False
    return not (context.is_excerpt and facts.resource_type and not _READS.search(message.text))


def _provider_of(address: str, resource_type: str) -> str:
    named = _PROVIDER.match(address)
    if named is not None:
        return named[1]
    parts = _INDEX.sub("", address).split(".")
    kind = resource_type or (parts[parts.index("data") + 1] if "data" in parts[:-1] else "")
    return kind.partition("_")[0]


def _type_of(address: str) -> str:
    parts = _INDEX.sub("", address).split(".")
    while len(parts) > 2 and parts[0] == "module":  # noqa: PLR2004 - `module`, its name, and what is in it
        parts = parts[2:]
    return parts[0] if len(parts) > 1 and parts[0] not in {"data", "ephemeral", "provider"} else ""


_PROVIDER: Final = re.compile(r'provider\["[^"]{0,300}?([\w-]{1,100})"\]')
_INDEX: Final = re.compile(r"\[[^\]]{0,500}\]")
_READS: Final = re.compile(
    r"(?i)failed to (?:read|get|refresh|find)|error (?:reading|refreshing)|\breading \w|\bGet \\?\"https?:"
)


def words(*phrases: str) -> re.Pattern[str]:
    """Compile the phrases of a sign, any of which may occur. Case counts nowhere: proxies change it."""
    return re.compile("|".join(phrases), re.IGNORECASE)


BACKEND: Final = words(
    r"Error (?:acquiring|releasing|locking) (?:the )?state",
    r"Error refreshing state",
    r"error loading (?:the )?(?:remote )?state",
    r"Failed to (?:get existing workspaces|load (?:destination )?state|refresh destination state)",
    r"Error inspecting states",
    r"Error (?:configuring|initializing) .{0,40}backend",
    r"Failed to (?:save|persist|upload|write) state",
    r"HTTP remote state",
    r"state data in S3",
    r"operation error DynamoDB: (?:Put|Get|Delete)Item",
    r"operation error S3: (?:PutObject|GetObject|HeadObject|ListObjectsV2|DeleteObject)",
    r"validating provider credentials",
    r"No valid credential sources",
    r"NoCredentialProviders",
    r"Error locking project",
    r"configuring the backend",
    r"failed to refresh cached credentials",
    r"language/backend/\w",
    r"Unable to (?:access object|retrieve item from DynamoDB|list objects in S3|delete item from DynamoDB)",
    r"error using credentials to get account ID",
    r"failed to (?:upload state|store state MD5|unlock (?:S3|DynamoDB))",
    r"failed to (?:retrieve|delete) lock info",
    r"Error saving state",
    r"storage\.NewClient\(\) failed",
    r"Error (?:retrieving|creating|locking|unlocking) workspace",
    r"retrieving Caller Identity",
)
"""Circumstances in which a message is about the state's backend and not about the provider's API."""

_RESOURCE: Final = re.compile(r"\bwith \S{1,1000}\.\S{1,400},? on \S")


def is_about_backend(message: Message) -> bool:
    """Say whether an error is about the state's backend: it names no resource and one of the backend's operations."""
    return not message.address and BACKEND.search(message.text) is not None and not _RESOURCE.search(message.text)
