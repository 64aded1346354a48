"""A state that OpenTofu encrypted: lineage and serial in clear, the rest for nobody but tofu with its key.

What follows what is decided by lineage and serial alone, so order, versions and fencing hold for such states as for
any other. OpenTofu keeps both inside as well and refuses a document whose clear ones were changed (measured with
1.12.6), so nothing of it can be written anew: a restore stores the bytes as they were.

Knows: document. Source: docs/facts/opentofu.md#tofu-2.
"""

from __future__ import annotations

import binascii
import hashlib
from typing import ClassVar, Final, TypeAlias

import msgspec

from interlock.errors import THIS_STATE, StateInvalid, UsageError, command, reason_of
from interlock.secrecy import PartlyShown
from interlock.state.document import ENCRYPTED, Document, parse_document, unreadable
from interlock.state.doubles import doubled_keys

WITHOUT_CONTENT: Final = (
    "lineage, serial, order and fencing are checked; what a state holds is not: objects that it lacks or marks as "
    "tainted, `state show`, `state diff`"
)
"""What a person should know of encrypted states."""

_FIELDS = frozenset({"serial", "lineage", "meta", "encrypted_data", "encryption_version"})


class EncryptedDocument(PartlyShown, frozen=True, kw_only=True):
    """What can be read of an encrypted state.

    Attributes:
        serial: Rises with every write.
        lineage: Identity of the state since its first write.
        keys: Names of the key providers that it was encrypted with, such as `key_provider.pbkdf2.main`.
        source: The bytes; they cannot be written otherwise.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"source"})

    serial: int
    lineage: str
    keys: tuple[str, ...] = ()
    source: bytes


AnyDocument: TypeAlias = Document | EncryptedDocument


class _Head(msgspec.Struct):
    serial: int
    lineage: str
    encrypted_data: str
    meta: dict[str, msgspec.Raw] | None = None
    encryption_version: str | None = None


_HEAD = msgspec.json.Decoder(_Head)
_NAMES = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse_state(body: bytes) -> AnyDocument:
    """Read a state, encrypted or not.

    Raises:
        StateInvalid: `body` is neither; see `parse_document`. Of an encrypted one, `bad-encryption` says that what is
            in clear cannot be trusted, or that the encrypted text is cut off.
    """
    try:
        return parse_document(body)
    except StateInvalid as error:
        if not is_encrypted_error(error):
            raise
    return _parse_encrypted(body)


def is_encrypted_error(error: StateInvalid) -> bool:
    """Say whether a document was refused for nothing but its encryption."""
    return error.facts.get("finding") == ENCRYPTED


def is_encrypted(body: bytes | None) -> bool:
    """Say whether a stored state is one that OpenTofu encrypted; broken ones and none are not."""
    if not body:
        return False
    try:
        return isinstance(parse_state(body), EncryptedDocument)
    except StateInvalid:
        return False


def may_hold_nothing(document: AnyDocument) -> bool:
    """Say whether a state may be the empty one that Terraform writes when the plan of a new state is interrupted.

    Of an encrypted one nobody can see that it is not. Ask only before an apply: then nothing was made in any case.
    """
    if isinstance(document, EncryptedDocument):
        return True
    return not document.instance_count() and not document.outputs and not document.objects()


def parse_content(body: bytes, subject: str) -> Document:
    """Read a state for a command that shows what is in it.

    Args:
        body: Its bytes.
        subject: Which state it is, for people.

    Raises:
        UsageError: OpenTofu encrypted it: it is no fault of the state's that nobody else can read it.
        StateInvalid: See `parse_document`.
    """
    try:
        return parse_document(body)
    except StateInvalid as error:
        if not is_encrypted_error(error):
            raise
        raise UsageError(
            f"the content of {subject} cannot be shown: OpenTofu encrypted it",
            why="only tofu with its key can read it; lineage, serial and versions are in clear",
            fix=f"{command('state', 'pull', THIS_STATE)} > s.tfstate; tofu show s.tfstate    where its key is",
        ) from error


def encrypted_digest(document: EncryptedDocument) -> str:
    """Return the SHA-256 of the bytes, white space aside. Each encryption of one content has another."""
    return hashlib.sha256(msgspec.json.format(document.source, indent=-1)).hexdigest()


def _parse_encrypted(body: bytes) -> EncryptedDocument:
    try:
        head, names = _HEAD.decode(body), _NAMES.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise unreadable(
            "bad-encryption", f"what is in clear of the encrypted state is wrong: {reason_of(error)}"
        ) from error
    fault = _fault_of(head, names, body)
    if fault:
        raise unreadable("bad-encryption", fault)
    return EncryptedDocument(serial=head.serial, lineage=head.lineage, keys=tuple(sorted(head.meta or ())), source=body)


def _fault_of(head: _Head, names: dict[str, msgspec.Raw], body: bytes) -> str:
    """Say why the clear part, or the encrypted text, is not as OpenTofu writes it; empty when it is."""
    for name in names:
        if name not in _FIELDS and name.casefold() in _FIELDS:
            return f"OpenTofu reads the field {name!r} as {name.casefold()!r}"
    for name, where in doubled_keys(body):
        return f"the field {name!r} is there twice in {where}"
    try:
        is_empty = not binascii.a2b_base64(head.encrypted_data, strict_mode=True)
    except binascii.Error:
        return "its encrypted text is not base64, as after a write that broke off"
    return "its encrypted text is empty" if is_empty else ""
