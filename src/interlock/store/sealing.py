"""How what a store keeps is encrypted: AES-256-GCM, in an envelope. Pure: whoever calls draws the random bytes.

The operator has *master keys*; the store never has one. What is kept is sealed with *data keys*. The `Ring`, a record
of the store, holds every data key, each wrapped by one or more master keys; the newest data key seals, all of them
open. So another master key costs one write of the ring, however much is stored.

A sealed text is the id of its data key (8 bytes), a nonce (12 bytes), and the ciphertext with its tag. Associated data
binds it to its name: the ciphertext of one blob or record, put in the place of another, does not open.

Source: NIST SP 800-38D (AES-GCM; a data key with random nonces seals 2**32 texts at
most, and a rotation makes a new one).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import ClassVar, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.bounded import decode_json
from interlock.errors import BackendUnavailable, UsageError, command
from interlock.store.refusals import StoreUnfit

KEY_BYTES = 32
NONCE_BYTES = 12
ID_BYTES = 8
TAG_BYTES = 16
SEALED_BYTES = ID_BYTES + NONCE_BYTES + TAG_BYTES
"""By how much a sealed text is longer than the plain one."""

RING = "encryption/ring"
RING_COPY = "encryption/ring.copy"
SCHEMA = 1

_PREFIX = "ilmaster_"
_VALUE = b"ILR\x01"
VALUE_BYTES = len(_VALUE) + SEALED_BYTES
"""By how much a sealed record is longer than the plain one."""

HOW = "export INTERLOCK_ENCRYPTION_KEY_FILE=master.key    the file that holds that key"


class KeyMissing(StoreUnfit):
    """The store is encrypted, and none of the given keys opens it."""

    code: ClassVar[str] = "encryption-key"


class RingLost(BackendUnavailable):
    """The record of data keys is damaged; without it nothing that was sealed can be read."""

    code: ClassVar[str] = "encryption-ring"


class Unsealable(ValueError):
    """A sealed text was changed, or stands under another name than it was sealed for."""


class MasterKey(Struct, frozen=True, kw_only=True):
    """A key of the operator.

    Attributes:
        id: 16 hexadecimal digits that name it and tell nothing of it.
        value: `KEY_BYTES` bytes.
    """

    id: str
    value: bytes

    def __repr__(self) -> str:
        """Hide the value."""
        return f"MasterKey({self.id})"


class Wrapped(Struct, frozen=True, kw_only=True):
    """A data key under one master key.

    Attributes:
        key: The id of the master key.
        nonce: In hexadecimal digits.
        sealed: The data key, encrypted, in hexadecimal digits.
    """

    key: str
    nonce: str
    sealed: str


class DataKey(Struct, frozen=True, kw_only=True):
    """A data key as the ring has it.

    Attributes:
        id: 16 hexadecimal digits.
        made_at: When.
        wraps: The key, once for each master key that opens it.
    """

    id: str
    made_at: datetime
    wraps: tuple[Wrapped, ...]


class Ring(Struct, frozen=True, kw_only=True):
    """All data keys of a store, in the order in which they were made; the last one seals.

    Attributes:
        schema: Of this record.
        number: Rises with each change, so that the newer of two copies is known.
        keys: Not empty.
    """

    schema: int = SCHEMA
    number: int = 1
    keys: tuple[DataKey, ...]

    @property
    def current(self) -> DataKey:
        """The one that seals."""
        return self.keys[-1]

    @property
    def masters(self) -> tuple[str, ...]:
        """Ids of the master keys that open every data key, in order."""
        of_each = [{wrapped.key for wrapped in key.wraps} for key in self.keys]
        return tuple(sorted(set.intersection(*of_each)))

    @property
    def mentioned(self) -> tuple[str, ...]:
        """Ids of the master keys that open at least one data key."""
        return tuple(sorted({wrapped.key for key in self.keys for wrapped in key.wraps}))


class Sealer(Protocol):
    """Seals and opens, from any thread. What it was told to bind must be given again to open."""

    def seal(self, plain: bytes | memoryview, bound: bytes) -> bytes:
        """Return the sealed text."""
        ...

    def open(self, sealed: bytes | memoryview, bound: bytes) -> bytes:
        """Return the plain text.

        Raises:
            KeyMissing: No data key of this id is known.
            Unsealable: See there.
        """
        ...

    @property
    def current(self) -> bytes:
        """The id of the data key that seals now."""
        ...


def read_keys(text: str, *, said_by: str) -> tuple[MasterKey, ...]:
    """Read master keys, divided by space: the first one wraps, the others open what they wrapped earlier.

    Args:
        text: Each is 32 bytes in base64, as `interlock encryption new-key` or a KMS prints it.
        said_by: Where they come from, for the message.

    Raises:
        UsageError: There is none, or one is not a key.
    """
    words = text.split()
    if not words:
        raise UsageError(f"{said_by} holds no key", fix=new_key_command())
    return tuple(dict.fromkeys(_read_key(word, said_by) for word in words))


def _read_key(word: str, said_by: str) -> MasterKey:
    digits = word.removeprefix(_PREFIX).rstrip("=").replace("+", "-").replace("/", "_")
    try:
        value = base64.b64decode(digits + "=" * (-len(digits) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if len(value) != KEY_BYTES or len(set(value)) < KEY_BYTES // 4:
        raise UsageError(
            f"{said_by} is not an encryption key",
            why=f"a key is {KEY_BYTES} random bytes in base64; a password is not one",
            fix=new_key_command(),
        )
    return master_key(value)


def master_key(value: bytes) -> MasterKey:
    """Return the key with these bytes."""
    return MasterKey(id=sha256(b"interlock master key\n" + value).digest()[:ID_BYTES].hex(), value=value)


def spell_key(value: bytes) -> str:
    """Return a key as an operator keeps it; the prefix lets scanners for secrets recognise it."""
    return _PREFIX + base64.urlsafe_b64encode(value).decode().rstrip("=")


def new_key_command() -> str:
    """Return the command that makes a key, and what is done with it then."""
    made = command("encryption", "new-key", "--out", "master.key")
    return f'{made}    then export INTERLOCK_ENCRYPTION_KEY_FILE="$PWD/master.key"'


# -- texts ------------------------------------------------------------------------------------------------------------


def seal_text(plain: bytes | memoryview, *, key: bytes, key_id: bytes, nonce: bytes, bound: bytes) -> bytes:
    """Return the sealed text; see the module."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return b"".join((key_id, nonce, AESGCM(key).encrypt(nonce, plain, key_id + bound)))


def open_text(sealed: bytes | memoryview, *, key: bytes, bound: bytes) -> bytes:
    """Return the plain text.

    Raises:
        Unsealable: See there.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key_id, nonce = bytes(sealed[:ID_BYTES]), bytes(sealed[ID_BYTES : ID_BYTES + NONCE_BYTES])
    if len(sealed) < SEALED_BYTES:
        raise Unsealable("it is cut off")
    try:
        return AESGCM(key).decrypt(nonce, sealed[ID_BYTES + NONCE_BYTES :], key_id + bound)
    except InvalidTag:
        raise Unsealable("it was changed, or stands in the place of another") from None


def key_id_of(sealed: bytes | memoryview) -> bytes:
    """Return the id of the data key that sealed a text."""
    return bytes(sealed[:ID_BYTES])


# -- values of records ------------------------------------------------------------------------------------------------


def is_sealed_value(value: bytes) -> bool:
    """Say whether the value of a record is sealed."""
    return value.startswith(_VALUE)


def seal_value(key: str, value: bytes, sealer: Sealer) -> bytes:
    """Return the value of the record `key`, sealed for that name."""
    return _VALUE + sealer.seal(value, _bound_to(key))


def open_value(key: str, value: bytes, sealer: Sealer) -> bytes:
    """Return the plain value of a record.

    Raises:
        KeyMissing: See `Sealer.open`.
        Unsealable: Likewise.
    """
    return sealer.open(memoryview(value)[len(_VALUE) :], _bound_to(key))


def key_of_value(value: bytes) -> bytes:
    """Return the id of the data key of a sealed value."""
    return value[len(_VALUE) : len(_VALUE) + ID_BYTES]


def _bound_to(key: str) -> bytes:
    return b"record " + key.encode()


# -- the ring ---------------------------------------------------------------------------------------------------------


class Drawn(Struct, frozen=True, kw_only=True):
    """Random bytes for one data key, drawn by the caller.

    Attributes:
        id: `ID_BYTES`.
        value: `KEY_BYTES`.
    """

    id: bytes
    value: bytes


def with_key(ring: Ring | None, drawn: Drawn, masters: Sequence[tuple[MasterKey, bytes]], *, at: datetime) -> Ring:
    """Return a ring with one more data key, which seals from now on.

    Args:
        ring: The ring so far; None for none.
        drawn: The new key.
        masters: By whom it is wrapped, each with a fresh nonce.
        at: Now.
    """
    key = DataKey(
        id=drawn.id.hex(),
        made_at=at,
        wraps=tuple(_wrap(drawn.id, drawn.value, master, nonce) for master, nonce in masters),
    )
    if ring is None:
        return Ring(keys=(key,))
    return replace(ring, number=ring.number + 1, keys=(*ring.keys, key))


def wrapped_by(ring: Ring, master: MasterKey, plain: dict[bytes, bytes], nonces: Sequence[bytes]) -> Ring:
    """Return the ring with every data key wrapped by `master` too.

    Args:
        ring: The ring.
        master: The key.
        plain: The data keys, opened, by id.
        nonces: As many fresh ones as the ring has keys.
    """
    keys = tuple(_wrapped_too(key, master, plain, nonce) for key, nonce in zip(ring.keys, nonces, strict=True))
    return ring if keys == ring.keys else replace(ring, number=ring.number + 1, keys=keys)


def _wrapped_too(key: DataKey, master: MasterKey, plain: dict[bytes, bytes], nonce: bytes) -> DataKey:
    if any(wrapped.key == master.id for wrapped in key.wraps):
        return key
    key_id = bytes.fromhex(key.id)
    return replace(key, wraps=(*key.wraps, _wrap(key_id, plain[key_id], master, nonce)))


def without_master(ring: Ring, master_id: str) -> Ring:
    """Return the ring without what one master key wrapped.

    Raises:
        UsageError: A data key would be lost.
    """
    keys = tuple(replace(key, wraps=tuple(each for each in key.wraps if each.key != master_id)) for key in ring.keys)
    if not all(key.wraps for key in keys):
        raise not_retired(master_id, "it alone opens what the store holds")
    return ring if keys == ring.keys else replace(ring, number=ring.number + 1, keys=keys)


def not_retired(master_id: str, why: str) -> UsageError:
    """Return the refusal to retire a key that is still needed."""
    return UsageError(
        f"key {master_id} is not retired",
        why=why,
        fix=f"{command('encryption', 'rotate')}    with the new key before the old one",
    )


def is_key_id(text: str) -> bool:
    """Say whether a text is spelled like the id of a key."""
    return len(text) == 2 * ID_BYTES and all(each in "0123456789abcdef" for each in text)


def opened_keys(ring: Ring, masters: Sequence[MasterKey]) -> dict[bytes, bytes]:
    """Return all data keys, opened, by id.

    Raises:
        KeyMissing: No given key opens one of them.
        RingLost: A wrapped key was changed.
    """
    return {bytes.fromhex(key.id): _opened(ring, key, masters) for key in ring.keys}


def _opened(ring: Ring, key: DataKey, masters: Sequence[MasterKey]) -> bytes:
    for wrapped in key.wraps:
        for master in masters:
            if master.id == wrapped.key:
                return _unwrap(bytes.fromhex(key.id), wrapped, master)
    raise wrong_key(ring, masters)


def wrong_key(ring: Ring, masters: Sequence[MasterKey]) -> KeyMissing:
    """Return the error of a store that none of the given keys opens."""
    wanted = " or ".join(ring.masters or ring.mentioned)
    if not masters:
        return KeyMissing("the store is encrypted, and no key is given", why=f"key {wanted} opens it", fix=HOW)
    given = ", ".join(each.id for each in masters)
    return KeyMissing(
        "the encryption key is the wrong one for this store",
        why=f"key {wanted} opens it, and {given} is given",
        fix=HOW,
    )


def _wrap(key_id: bytes, value: bytes, master: MasterKey, nonce: bytes) -> Wrapped:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    sealed = AESGCM(master.value).encrypt(nonce, value, b"interlock data key\n" + key_id)
    return Wrapped(key=master.id, nonce=nonce.hex(), sealed=sealed.hex())


def _unwrap(key_id: bytes, wrapped: Wrapped, master: MasterKey) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(master.value).decrypt(
            bytes.fromhex(wrapped.nonce), bytes.fromhex(wrapped.sealed), b"interlock data key\n" + key_id
        )
    except (InvalidTag, ValueError):
        raise ring_lost(f"data key {key_id.hex()} was changed") from None


def ring_lost(why: str) -> RingLost:
    """Return the error of a ring that cannot be read."""
    return RingLost("the store's record of its data keys is damaged", why=why, fix="restore the store from a backup")


def ring_to_bytes(ring: Ring) -> bytes:
    """Spell a ring as stored."""
    return msgspec.json.encode(ring)


def ring_from_bytes(raw: bytes) -> Ring:
    """Read a stored ring.

    Raises:
        RingLost: It is not one.
        UsageError: A newer Interlock wrote it.
    """
    try:
        ring = decode_json(raw, type=Ring)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ring_lost("it has not the expected form") from None
    if ring.schema != SCHEMA:
        raise StoreUnfit("the store was encrypted by a newer Interlock", fix="pip install --upgrade interlock")
    if not ring.keys:
        raise ring_lost("it is empty")
    return ring
