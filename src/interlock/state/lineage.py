"""May this document follow that one? Lineage, serial, and deletions within the plan (promise P6).

Terraform checks none of this on the server's behalf: a zombie, a hand-made push or a stale plan would simply
overwrite. So the rules are here, and a refusal is a value with its reason.

Of an encrypted state only lineage and serial are in clear: the rule of deletions is off then, on either side of a
step, and two documents of one serial are the same only when their bytes are.

Knows: document, encrypted. Source: docs/facts/terraform-state.md#state-6 and #state-9, docs/facts/opentofu.md#tofu-2.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from interlock.amounts import amount
from interlock.state.document import (
    Document,
    ObjectKey,
    Resource,
    compact,
    content_digest,
    group_resources,
    index_objects,
    parse_document,
)
from interlock.state.encrypted import AnyDocument, EncryptedDocument, encrypted_digest

UNPLANNED_DELETION: Final = "unplanned-deletion"
"""Code of the one refusal that may be wrong: what a running apply writes is kept as suspect instead (promise P6)."""


class Step(Enum):
    """How an accepted document follows the current one."""

    FIRST = "first"
    """There was no state."""
    NEXT = "next"
    """Same lineage, higher serial."""
    SAME = "same"
    """The current document again: a repeated request. Nothing needs to be stored."""


class Footing(Struct, frozen=True, kw_only=True):
    """Where a document stands: lineage and serial, which a store knows without reading it."""

    lineage: str
    serial: int


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a document may not become current.

    Attributes:
        code: `no-lineage`, `serial-zero`, `foreign-lineage`, `older-serial`, `same-serial` or `unplanned-deletion`.
        why: One sentence.
        addresses: The instances it is about, sorted; may be empty.
    """

    code: str
    why: str
    addresses: tuple[str, ...] = ()


Judgement: TypeAlias = Step | Refusal


def judge_successor(
    current: AnyDocument | None, candidate: AnyDocument, allowed: frozenset[str] | None = None
) -> Judgement:
    """Decide whether one document may become current in the place of another: the whole of promise P6.

    Args:
        current: The current document; None when there is none.
        candidate: The document that would follow.
        allowed: See `judge_deletions`.

    Raises:
        StateInvalid: One of the documents has instances that cannot be told apart.
    """
    before, after = None if current is None else footing(current), footing(candidate)
    is_same = current is not None and is_question_of_content(before, after) and says_same(current, candidate)
    judged = judge(before, after, is_same=is_same)
    if isinstance(judged, Refusal):
        return judged
    return judge_deletions(current, candidate, allowed) or judged


def footing(document: AnyDocument) -> Footing:
    """Return where a document stands."""
    return Footing(lineage=document.lineage, serial=document.serial)


def is_question_of_content(current: Footing | None, candidate: Footing) -> bool:
    """Whether the answer hangs on what the documents say. Only then need somebody read the current one."""
    return current == candidate


def says_same(current: AnyDocument, candidate: AnyDocument) -> bool:
    """Whether two documents of one lineage and serial are one: equal in content, however they are spelled.

    Terraform writes `check_results` in random order, so a write that it repeats need not have the same bytes. Of an
    encrypted one nobody can tell but by its bytes, and OpenTofu sends those again when it repeats a write.
    """
    return digest_of_content(current) == digest_of_content(candidate)


def digest_of_content(document: AnyDocument) -> str:
    """Return the SHA-256 of what a state says; of an encrypted one, of its bytes without white space."""
    return encrypted_digest(document) if isinstance(document, EncryptedDocument) else content_digest(document)


def judge(current: Footing | None, candidate: Footing, *, is_same: bool) -> Judgement:
    """Apply the rules of lineage and serial.

    Args:
        current: Where the current document stands; None when there is none.
        candidate: Where the document stands that would follow.
        is_same: What `says_same` says; it matters only where `is_question_of_content`.
    """
    if not candidate.lineage:
        return Refusal(code="no-lineage", why="the document has no lineage")
    if candidate.serial < 1:
        return Refusal(code="serial-zero", why="the document has serial 0")
    if current is None:
        return Step.FIRST
    if candidate.lineage != current.lineage:
        why = f"its lineage is {candidate.lineage}, the current state has {current.lineage}"
        return Refusal(code="foreign-lineage", why=why)
    return _judge_serial(current, candidate, is_same=is_same)


def is_written_again(current: AnyDocument | Footing, candidate: AnyDocument, *, encrypted: bool) -> bool:
    """Whether a document that its own writer brings a second time may replace the first, though it has other bytes.

    A Terraform that did not hear that its state was stored leaves it in a file under the same serial. OpenTofu encrypts
    it anew for that, so nobody can see that it is the same; its own run wrote nothing else in between.

    Args:
        current: What the writer itself stored last.
        candidate: What it brings.
        encrypted: Whether `current` is encrypted; where neither is, the contents decide.
    """
    before = current if isinstance(current, Footing) else footing(current)
    return before == footing(candidate) and (encrypted or isinstance(candidate, EncryptedDocument))


def find_deletions(current: Document, candidate: Document) -> frozenset[str]:
    """Return the addresses of managed instances that lose an object: the current one or a deposed one.

    Data sources do not count: losing them loses nothing in the world.

    Raises:
        StateInvalid: One of the documents has instances that cannot be told apart.
    """
    return frozenset(str(key.address()) for key in find_lost(current, candidate))


def find_lost(current: Document, candidate: Document) -> frozenset[ObjectKey]:
    """Return the managed objects that `current` has and `candidate` has not, deposed ones each by themselves.

    Raises:
        StateInvalid: One of the documents has instances that cannot be told apart.
    """
    kept = group_resources(candidate)
    gone: set[ObjectKey] = set()
    for resource in group_resources(current).values():
        if resource.mode != "managed":
            continue
        others = kept.get(resource.key)
        if others is not None and others.instances == resource.instances:
            continue
        gone.update(_lost(resource, others))
    return frozenset(gone)


def find_gone(before: bytes, after: bytes) -> tuple[frozenset[str], tuple[str, ...]]:
    """Say what one state lacks of another: objects by their names, and those that it has under no new address either.

    Returns:
        The names of every managed object that is not where it was, as `judge_deletions` takes them, and, sorted, as
        many of them as are nowhere: a move takes an object from one address and gives it another.

    Raises:
        StateInvalid: One of them is not a state, or has instances that cannot be told apart.
    """
    first, second = parse_document(before), parse_document(after)
    old, new = first.objects(), second.objects()
    lost = {key: _identity(old[key]) for key in find_lost(first, second)}
    fresh = [_identity(new[key]) for key in find_lost(second, first)]
    nowhere = []
    for key, identity in sorted(lost.items(), key=lambda item: str(item[0])):
        if identity in fresh:
            fresh.remove(identity)
        else:
            nowhere.append(str(key))
    return frozenset(map(str, lost)), tuple(nowhere)


def _identity(raw: msgspec.Raw) -> str:
    """Return what stays when an object moves: its attributes as they are written."""
    found = msgspec.json.decode(raw, type=_Attributes)
    return compact(found.attributes).decode() + compact(found.attributes_flat).decode()


class _Attributes(msgspec.Struct):
    attributes: msgspec.Raw = msgspec.Raw(b"null")
    attributes_flat: msgspec.Raw = msgspec.Raw(b"null")


def judge_deletions(
    current: AnyDocument | None, candidate: AnyDocument, allowed: frozenset[str] | None
) -> Refusal | None:
    """Refuse a document that drops managed instances which the plan did not delete.

    Args:
        current: The current document; None when there is none, so nothing can be dropped.
        candidate: The document that would follow.
        allowed: What may disappear: addresses of instances that the plan deletes, replaces, forgets or moves away,
            and objects that its refresh took out. A deposed object is named `ADDRESS (deposed KEY)`; the address alone
            lets every object of the instance go. None: this writer is not bound to a plan.

    Returns:
        The refusal, or None; None too where one of the two is encrypted, so that nobody can tell.
    """
    if allowed is None or not isinstance(current, Document) or not isinstance(candidate, Document):
        return None
    lost = find_lost(current, candidate)
    surplus = {str(key) for key in lost if str(key) not in allowed and str(key.address()) not in allowed}
    if not surplus:
        return None
    why = f"it drops {amount(len(surplus), 'managed instance')} that neither the plan nor its refresh took out"
    return Refusal(code=UNPLANNED_DELETION, why=why, addresses=tuple(sorted(surplus)))


def _judge_serial(current: Footing, candidate: Footing, *, is_same: bool) -> Judgement:
    if candidate.serial > current.serial:
        return Step.NEXT
    if candidate.serial < current.serial:
        why = f"its serial is {candidate.serial}, the current state has {current.serial}"
        return Refusal(code="older-serial", why=why)
    if is_same:
        return Step.SAME
    return Refusal(code="same-serial", why=f"serial {current.serial} is already taken by other content")


def _lost(resource: Resource, others: Resource | None) -> set[ObjectKey]:
    return index_objects(resource).keys() - index_objects(others).keys()
