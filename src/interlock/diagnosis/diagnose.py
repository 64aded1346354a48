"""Messages -> the causes of a failed run, root first.

A run that succeeded has none, whatever it printed. When several things went wrong, what explains the others comes
first; the table `_EXPLAINS` says what can follow from what.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from interlock.diagnosis.backends import backend_configured
from interlock.diagnosis.cause import Category, Cause, Context, Retry
from interlock.diagnosis.causes import RULES
from interlock.diagnosis.facts import gather_facts
from interlock.diagnosis.message import Kind, Line, Message

MAX_CAUSES: Final = 50  # different ones; the same again is only counted
MAX_UNKNOWN: Final = 5  # errors that fit no category, kept to be shown
MAX_JUDGED: Final = 2000  # different messages looked at in full; of further ones the first `MAX_GLANCE_CHARS`
MAX_GLANCE_CHARS: Final = 500
MAX_HOSTS: Final = 20
MAX_OPEN: Final = 10_000  # operations under way at once: far beyond any -parallelism

_STICKY: Final = frozenset({Category.STATE_NOT_SAVED, Category.LOCK_RELEASE_FAILED})
"""Not overcome by a later command: what was lost, or left, still is. Only the job's success says that all is well."""

_NOTHING_DONE: Final = frozenset({"init", "validate"})
_NEEDS_APPLY: Final = frozenset({"apply", "destroy", "job"})
_PROVISIONER: Final = ("local-exec provisioner error", "remote-exec provisioner error", "file provisioner error")
_OF_PROVISIONERS: Final = frozenset({Category.CONFIG_ERROR, Category.DISK_FULL})
_REASONS: Final = frozenset({Category.DISK_FULL, Category.BACKEND_AUTH})
"""What is looked for inside the error of a state that was not saved."""

_API: Final = frozenset(category for category in Category if category.value.startswith("api-"))
_FOLLOWS_A_CUT: Final = frozenset({Category.CANCELLED, Category.PROVIDER_CRASH, Category.LOCK_RELEASE_FAILED, *_API})
_EXPLAINS: Final[Mapping[Category, frozenset[Category]]] = {
    Category.DISK_FULL: frozenset(
        {
            Category.STATE_NOT_SAVED,
            Category.STATE_CORRUPT,
            Category.PROVIDER_CRASH,
            Category.REGISTRY,
            Category.LOCK_RELEASE_FAILED,
            Category.CANCELLED,
            Category.INIT_REQUIRED,
        }
    ),
    Category.NETWORK: frozenset({Category.INIT_REQUIRED, Category.TIMEOUT}),
    Category.TIMEOUT: frozenset({Category.CANCELLED}),
    Category.CANCELLED: frozenset(
        {
            Category.STATE_NOT_SAVED,
            Category.LOCK_RELEASE_FAILED,
            Category.PROVIDER_CRASH,
            Category.LOCK_HELD,
            Category.CONFIG_ERROR,  # a provisioner's command killed with the run
            *_API,
        }
    ),
    Category.PROVIDER_CRASH: frozenset({Category.LOCK_HELD, Category.STATE_NOT_SAVED, Category.TIMEOUT}),
    Category.BACKEND_AUTH: frozenset({Category.STATE_NOT_SAVED, Category.LOCK_RELEASE_FAILED, Category.INIT_REQUIRED}),
    Category.BACKEND_THROTTLED: frozenset(
        {
            Category.STATE_NOT_SAVED,
            Category.LOCK_RELEASE_FAILED,
            Category.LOCK_HELD,
            Category.DIGEST_MISMATCH,
            Category.INIT_REQUIRED,
        }
    ),
    Category.BACKEND_MISSING: frozenset({Category.INIT_REQUIRED}),
    Category.REGISTRY: frozenset({Category.INIT_REQUIRED}),
    Category.STATE_REFUSED: frozenset({Category.STATE_NOT_SAVED, Category.LOCK_RELEASE_FAILED}),
    Category.STATE_NOT_SAVED: frozenset({Category.LOCK_RELEASE_FAILED, Category.LOCK_HELD}),
    Category.LOCK_RELEASE_FAILED: frozenset({Category.LOCK_HELD}),
    Category.API_RATE_LIMIT: frozenset({Category.TIMEOUT, Category.API_SERVER_ERROR}),
    Category.API_AUTH: frozenset({Category.API_PERMISSION, Category.API_GONE}),
    Category.VERSION_MISMATCH: frozenset({Category.CONFIG_ERROR, Category.INIT_REQUIRED}),
    Category.CONFIG_ERROR: frozenset({Category.INIT_REQUIRED, Category.PLAN_STALE}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a log says about a run.

    Attributes:
        causes: Root causes first, then what followed from them. Empty for a run that succeeded.
        unknown: The headlines of errors that fit no category.
        failed: The log shows a failure, known or not.
        succeeded: The log ends well: what it shows last is a command, or the job, that succeeded. When it neither
            failed nor succeeded, how the run ended cannot be seen in it.
    """

    causes: tuple[Cause, ...] = ()
    unknown: tuple[tuple[Line, ...], ...] = ()
    failed: bool = False
    succeeded: bool = False


@dataclass(slots=True)
class _Found:
    """What has been found so far; a later success moves what it overcame to `overcome`."""

    causes: dict[tuple[Category, str], Cause] = field(default_factory=dict)
    begun: dict[tuple[Category, str], bool] = field(default_factory=dict)
    overcome: dict[tuple[Category, str], Cause] = field(default_factory=dict)
    unknown: list[tuple[Line, ...]] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    own_locks: set[str] = field(default_factory=set)
    tool: str = ""
    has_begun: bool = False
    open: dict[str, None] = field(default_factory=dict)
    began_at: datetime | None = None
    version: str = ""
    judged: dict[tuple[Kind, str, bool], tuple[Cause, ...]] = field(default_factory=dict)
    fell_after_success: bool = False
    succeeded: bool = False
    heard: bool = False
    backend: str = ""


def diagnose(messages: Iterable[Message], *, own_locks: Iterable[str] = (), tool: str = "") -> Diagnosis:
    """Find the causes in what a log said.

    Args:
        messages: In the order of the log (see `reader`).
        own_locks: Lock ids that the run itself is known to have asked for.
        tool: Which program spoke, `terraform` or `tofu`; empty when only the log may tell.

    Returns:
        The diagnosis. Never raises.
    """
    found = _Found(own_locks=set(own_locks), tool=tool)
    for message in messages:
        _take(message, found)
        found.heard = True
    return _conclude(found)


def _take(message: Message, found: _Found) -> None:
    match message.kind:
        case Kind.ERROR | Kind.NOTICE:
            _judge(message, found)
        case Kind.FAILURE:
            _judge(message, found)
            found.fell_after_success = True
        case Kind.SUCCESS:
            _overcome(message.text, found)
        case Kind.BEGUN | Kind.ENDED:
            _follow(message, found)
        case Kind.WORKING | Kind.COMMAND:
            _note_work(message, found)
        case Kind.VERSION:
            found.version = message.text
        case Kind.HOST:
            if len(found.hosts) < MAX_HOSTS:
                found.hosts.add(message.text)
        case Kind.WARNING:
            pass


def _note_work(message: Message, found: _Found) -> None:
    """A command begins or goes on: what ended well before it does not tell how this one ends."""
    if message.kind is Kind.WORKING:
        found.succeeded = False
        found.backend = backend_configured(message.text) or found.backend
        return
    found.has_begun, found.began_at, found.open = False, message.at, {}
    found.succeeded = found.succeeded and message.text not in _ENDS_WITH_A_WORD


_ENDS_WITH_A_WORD: Final = frozenset({"init", "plan", "apply", "destroy", "refresh", "import", "validate"})
"""Commands that say how they ended; of the others silence is the success."""


def _follow(message: Message, found: _Found) -> None:
    if message.kind is Kind.ENDED:
        found.open.pop(message.text, None)
        return
    found.has_begun, found.succeeded = True, False
    if message.text and len(found.open) < MAX_OPEN:
        found.open[message.text] = None


def _judge(message: Message, found: _Found) -> None:
    causes = _remembered(message, found)
    for cause in causes:
        if cause.is_cut_off:
            cause = replace(cause, facts=replace(cause.facts, in_flight=tuple(found.open)))  # noqa: PLW2901
        _add(cause, found)
    if message.kind is Kind.ERROR and message.address:
        _answered(message.address, found)
    if message.kind is Kind.ERROR:
        found.fell_after_success = True
        if not causes and len(found.unknown) < MAX_UNKNOWN:
            found.unknown.append(message.lines[:3])


def _answered(address: str, found: _Found) -> None:
    """An error that names a resource is its provider's answer: that operation is in flight no longer."""
    for operation in [each for each in found.open if each.startswith(f"{address} (")]:
        del found.open[operation]


def _remembered(message: Message, found: _Found) -> tuple[Cause, ...]:
    """Judge each text once: a log may say the same thousands of times."""
    key = (message.kind, message.text, found.has_begun)
    known = found.judged.get(key)
    if known is not None:
        return known
    if len(found.judged) >= MAX_JUDGED:
        return tuple(_causes(replace(message, text=message.text[:MAX_GLANCE_CHARS]), found))
    causes = tuple(_causes(message, found))
    found.judged[key] = causes
    return causes


def _causes(message: Message, found: _Found) -> Iterator[Cause]:
    """Yield the first cause that fits, and behind a state that was not saved why."""
    facts, context = gather_facts(message), _context(found)
    found.backend = facts.backend or found.backend
    told = "tofu" if found.version.startswith("tofu") else facts.tool
    facts = replace(facts, backend=found.backend, tool=found.tool or told)
    inside = False
    only = _OF_PROVISIONERS if message.summary.startswith(_PROVISIONER) else None
    for rule in RULES:
        if only is not None and rule.category not in only:
            continue
        cause = rule.find(message, facts, context)
        if cause is None:
            continue
        yield replace(cause, is_reason=True, retry=Retry.NO) if inside else cause
        if inside or cause.category is not Category.STATE_NOT_SAVED:
            return
        only, inside = _REASONS, True


def _context(found: _Found) -> Context:
    return Context(
        begun=found.has_begun,
        is_excerpt=not found.heard,
        began_at=found.began_at,
        version=found.version,
        hosts=frozenset(found.hosts),
        own_locks=frozenset(found.own_locks),
    )


def _add(cause: Cause, found: _Found) -> None:
    key = _key(cause, found)
    known = found.causes.get(key)
    if known is not None:
        is_better = (known.is_echo and not cause.is_echo) or (known.is_vague and not cause.is_vague)
        count = known.count + (not (known.is_vague or cause.is_vague))
        keep = cause if is_better else known
        found.causes[key] = replace(
            keep,
            count=count,
            is_echo=known.is_echo and cause.is_echo,
            is_vague=known.is_vague and cause.is_vague,
            is_reason=known.is_reason and cause.is_reason,
        )
    elif len(found.causes) < MAX_CAUSES:
        found.causes[key] = cause
        found.begun[key] = found.has_begun


def _key(cause: Cause, found: _Found) -> tuple[Category, str]:
    """Return under what a cause is kept: with its like, and the vague one with any other of its category."""
    name = cause.facts.lock.id if cause.facts.lock else cause.summary
    for category, known in found.causes:
        if category is cause.category and (cause.is_vague or found.causes[category, known].is_vague):
            return category, known
    return cause.category, name


def _overcome(word: str, found: _Found) -> None:
    """A command succeeded: what had failed before it, it got over. A plan gets over nothing that an apply broke."""
    found.succeeded = True
    if word in _NOTHING_DONE:
        return
    found.fell_after_success = False
    for key, cause in list(found.causes.items()):
        if (cause.category in _STICKY and word != "job") or (word not in _NEEDS_APPLY and found.begun[key]):
            continue
        found.overcome.setdefault(key, found.causes.pop(key))
    if word in _NEEDS_APPLY:
        found.unknown.clear()


def _conclude(found: _Found) -> Diagnosis:
    """Order the causes. A log that ends in failure after a success without a reason takes the earlier ones back."""
    causes = dict(found.causes)
    if found.fell_after_success and not causes:
        causes = found.overcome
    ordered = _ordered(list(causes.values()))
    failed = bool(causes) or found.fell_after_success or bool(found.unknown)
    return Diagnosis(
        causes=ordered,
        unknown=tuple(found.unknown) if failed else (),
        failed=failed,
        succeeded=found.succeeded and not failed,
    )


def _explains(other: Cause, cause: Cause) -> bool:
    if other.is_cut_off and cause.category in _FOLLOWS_A_CUT:
        return True
    return cause.category in _EXPLAINS.get(other.category, ()) and not other.is_echo


def _ordered(causes: list[Cause]) -> tuple[Cause, ...]:
    """Put a state that is not saved first and why beside it, then what nothing else explains, in the order of the log.

    What is lost if nobody acts comes before what began it: the state must be pushed, and the reason tells how.
    """

    def is_consequence(cause: Cause) -> bool:
        others = [other for other in causes if other.category is not cause.category]
        if cause.is_cut_off or cause.category is Category.STATE_NOT_SAVED:
            return False
        if cause.is_echo and any(not other.is_echo for other in others):
            return True
        return any(_explains(other, cause) for other in others)

    judged = [replace(cause, is_consequence=is_consequence(cause)) for cause in causes]
    return tuple(sorted(judged, key=_rank))


def _rank(cause: Cause) -> tuple[bool, bool, bool]:
    return (cause.category is not Category.STATE_NOT_SAVED, cause.is_consequence, not cause.is_reason)
