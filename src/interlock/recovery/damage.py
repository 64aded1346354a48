"""What is wrong between the versions of a state: lineage, serial, lost updates, resources that vanished.

A single document can be whole and still be the wrong one: a run that went on after its lock was taken away writes a
perfect state over somebody else's. Backends that do not fence accept it. Only the chain of versions shows it.

A finding *refuses* when the current state is affected by it; what was put right since is only noted.

Knows: state documents. Source of the rules: docs/facts/terraform-s3.md#s3-6,
docs/facts/terraform-state.md#state-6 and #state-9.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from interlock.address import parse_address
from interlock.amounts import amount
from interlock.errors import StateInvalid
from interlock.state import (
    AnyDocument,
    Document,
    EncryptedDocument,
    Finding,
    ObjectKey,
    digest_of_content,
    find_deletions,
    parse_state,
    refusing,
    verify_document,
)

CLOCKS_S = 60.0
"""By how much the store's clock and ours may differ; the takeover only makes the finding's text clearer."""

UNDECIDED = frozenset({"emptied", "mostly-gone", "no-state"})
"""Findings of which only a person can say whether that was wanted: a destroy and a loss look alike afterwards.

They refuse nothing, and nobody may call the state whole; `recover` asks.
"""

MOST = 0.5  # of the managed instances: so much is not lost by an ordinary change of a configuration

MAX_NAMED = 10  # addresses spelled out in one message; the finding's own address is the first

_PARTS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One stored version.

    Attributes:
        id: The backend's name of it.
        at: When it was written, by the store's clock; None when that is not known.
        body: Its bytes.
    """

    id: str
    at: datetime | None
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What is known of what people wanted.

    Attributes:
        declared: Configuration addresses of resources that the configuration has and that are always there (no
            `count` or `for_each` on them or around them). None: the configuration is not known.
        planned: Instance addresses that runs of ours planned to delete, replace, move or forget.
        takeovers: Instants at which a lock of this state was broken.
        accepted: Content digests of versions of which somebody said that what is gone was meant to go.
        restored: SHA-256 of the bytes that somebody restored on purpose.
    """

    declared: frozenset[str] | None = None
    planned: frozenset[str] = frozenset()
    takeovers: tuple[datetime, ...] = ()
    accepted: frozenset[str] = frozenset()
    restored: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The judgement on a chain of versions.

    Attributes:
        findings: About the steps between versions, oldest step first.
        newest_sound: The newest version that is whole and follows from sound ones; None when there is none.
        is_current_sound: Whether that is the current one.
    """

    findings: tuple[Finding, ...] = ()
    newest_sound: Snapshot | None = None
    is_current_sound: bool = False


@dataclass(slots=True)
class _Walk:
    """Where the walk along the chain is."""

    intent: Intent
    current: AnyDocument | None
    last: AnyDocument | None = None
    findings: list[Finding] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    sound: Snapshot | None = None


def judge_chain(versions: Sequence[Snapshot], intent: Intent) -> Chain:
    """Judge the versions of a state.

    Args:
        versions: Oldest first; the last is the current one. Deletions are left out.
        intent: What is known of what people wanted.
    """
    if not versions:
        return Chain()
    read = [(version, read_whole(version.body)) for version in versions]
    walk = _Walk(intent=intent, current=read[-1][1])
    for version, document in read:
        _step(walk, version, document, is_last=version is versions[-1])
    return Chain(
        findings=tuple(walk.findings),
        newest_sound=walk.sound,
        is_current_sound=walk.sound is not None and walk.sound is versions[-1],
    )


def read_whole(body: bytes) -> AnyDocument | None:
    """Return the document if it is whole, as far as that can be seen of an encrypted one; else None."""
    try:
        document = parse_state(body)
    except StateInvalid:
        return None
    return None if refusing(verify_document(document)) else document


def _step(walk: _Walk, version: Snapshot, document: AnyDocument | None, *, is_last: bool) -> None:
    """Go one version further; an unsound one is passed over, so that the next is compared with the last sound one."""
    if document is None:
        if not is_last:
            text = f"version {version.id} is not whole; later versions are judged by the one before it"
            walk.findings.append(Finding(code="broken-version", message=text, refuses=False))
        return
    found = list(_against(walk, version, document, is_last=is_last)) if walk.last is not None else []
    walk.findings += found
    walk.seen.add(digest_of_content(document))
    if not any(finding.code in _UNSOUND for finding in found):
        walk.sound = version
    if walk.last is None or document.lineage in (walk.last.lineage, walk.current.lineage if walk.current else None):
        walk.last = document  # what comes next was built on it; what it lost is found again if it is still lost


_UNSOUND = frozenset({"lineage-changed", "serial-back", "zombie-write", "phantom-deletion"})


def _against(walk: _Walk, version: Snapshot, document: AnyDocument, *, is_last: bool) -> Iterator[Finding]:
    """Yield what is wrong with `document` as the successor of the last one."""
    last = walk.last
    assert last is not None
    if document.lineage != last.lineage:
        text = f"version {version.id} has lineage {document.lineage}, the one before {last.lineage}"
        yield Finding(code="lineage-changed", message=f"{text}: it is another state", refuses=is_last)
        return
    rises = document.serial > last.serial
    is_restored = not isinstance(document, Document) and _is_restored(walk, version)
    if not rises and digest_of_content(document) != digest_of_content(last) and not is_restored:
        yield _back(walk, version, document, last, is_last=is_last)
    if isinstance(document, Document) and isinstance(last, Document):  # of encrypted ones nobody can tell
        yield from _vanished(walk, version, document, last, rises=rises)


def _is_restored(walk: _Walk, version: Snapshot) -> bool:
    """Say whether a person restored just these bytes: an encrypted version comes back under its old serial.

    One that can be read is restored with a new serial; its bytes with a serial that does not rise were put back by
    somebody else, whatever was restored before.
    """
    return hashlib.sha256(version.body).hexdigest() in walk.intent.restored


def _back(walk: _Walk, version: Snapshot, document: AnyDocument, last: AnyDocument, *, is_last: bool) -> Finding:
    """Name a step whose serial does not rise: an old copy put back, or a writer that did not know of the last write."""
    if digest_of_content(document) in walk.seen:
        text = f"version {version.id} is an older state again: serial {document.serial} follows serial {last.serial}"
        return Finding(code="serial-back", message=text, refuses=is_last)
    taken = _takeover_before(walk.intent, version)
    since = f" after its lock was broken at {taken:%Y-%m-%d %H:%M:%SZ}" if taken else ""
    if document.serial < last.serial and not taken:
        text = f"version {version.id} has serial {document.serial}, the one before it {last.serial}"
        return Finding(code="serial-back", message=f"{text}: its writer knew an older state", refuses=is_last)
    text = (
        f"serial {document.serial} was written twice with different content" if document.serial == last.serial else ""
    )
    text = text or f"serial {document.serial} was written over serial {last.serial}"
    who = f"version {version.id} comes from a run that did not know of the write before it{since}"
    return Finding(code="zombie-write", message=f"{text}: {who}", refuses=is_last)


def _takeover_before(intent: Intent, version: Snapshot) -> datetime | None:
    if version.at is None:
        return None
    at = version.at + timedelta(seconds=CLOCKS_S)
    return max((taken for taken in intent.takeovers if taken <= at), default=None)


def _vanished(walk: _Walk, version: Snapshot, document: Document, last: Document, *, rises: bool) -> Iterator[Finding]:
    """Name managed instances that disappeared although nothing is known to have destroyed them."""
    gone = find_deletions(last, document) - walk.intent.planned
    gone = (gone - _moved(last, document)) & _missing_now(last, walk.current) if gone else gone
    if not gone or digest_of_content(document) in walk.intent.accepted:
        return
    if document.instance_count() == 0 and rises:
        text = (
            f"version {version.id} holds nothing any more ({amount(len(gone), 'instance')} gone): a destroy, or a loss"
        )
        yield Finding(code="emptied", address=min(gone), message=text, refuses=False)
        return
    proof = {address: why for address in gone if (why := _why_phantom(address, document, walk.intent, rises=rises))}
    rest = sorted(gone - proof.keys())
    is_most = len(rest) > MOST * _managed(last)
    for kind, addresses in (("phantom-deletion", sorted(proof)), ("mostly-gone" if is_most else "vanished", rest)):
        if addresses:
            why = proof.get(addresses[0], "no run of ours planned it; a plain terraform may have destroyed them")
            more = f" and {len(addresses) - MAX_NAMED} more" if len(addresses) > MAX_NAMED else ""
            text = f"vanished in version {version.id}: {', '.join(addresses[:MAX_NAMED])}{more}; {why}"
            yield Finding(code=kind, address=addresses[0], message=text, refuses=kind == "phantom-deletion")


def _managed(document: Document) -> int:
    return sum(key.mode == "managed" for key in document.objects())


def _why_phantom(address: str, document: Document, intent: Intent, *, rises: bool) -> str:
    """Return why an instance cannot have been destroyed on purpose; empty when it may have been."""
    config = _config(address)
    if any(_config(str(key.address())) == config for key in document.objects()):
        return "" if rises else "the write did not know of them"
    if not rises:
        return "the write did not know of them"
    if config in _depended_on(document):
        return "what depends on them is still there, and Terraform destroys dependents first"
    if intent.declared is not None and config in intent.declared:
        return "the configuration still has them, and no run of ours deleted them"
    return ""


def _config(address: str) -> str:
    return parse_address(address).config()


def _depended_on(document: Document) -> set[str]:
    names: set[str] = set()
    for raw in document.objects().values():
        fields = _PARTS.decode(raw)
        if "dependencies" in fields:
            names.update(msgspec.json.decode(fields["dependencies"], type=list[str] | None) or ())
    return names


def _missing_now(last: Document, current: AnyDocument | None) -> frozenset[str]:
    """Return what `last` has and the current state has not; everything when the current state cannot be read."""
    if current is None or isinstance(current, EncryptedDocument):
        return frozenset(str(key.address()) for key in last.objects() if key.mode == "managed")
    return find_deletions(last, current)


def _moved(last: Document, document: Document) -> frozenset[str]:
    """Return addresses whose object has another address now: same type, same id."""
    before = _identities(last)
    fresh = {identity for key, identity in _identities(document).items() if key not in before}
    return frozenset(
        str(key.address()) for key, identity in before.items() if identity is not None and identity in fresh
    )


def _identities(document: Document) -> dict[ObjectKey, tuple[str, str] | None]:
    return {key: _identity(key.type, raw) for key, raw in document.objects().items() if key.mode == "managed"}


def _identity(kind: str, raw: msgspec.Raw) -> tuple[str, str] | None:
    try:
        attributes = _PARTS.decode(_PARTS.decode(raw).get("attributes", msgspec.Raw(b"{}")))
        return (kind, bytes(attributes["id"]).decode()) if "id" in attributes else None
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
