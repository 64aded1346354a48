"""How a plan travels from the job that made it to the job that applies it.

Three jobs, three keys, and none has more than it needs:

- the *plan* job runs code of a change under review. It has a public key alone and *wraps* the plan: who can read the CI
  system's artifacts sees no secret value of it.
- the *seal* job runs no code of the change: no checkout, no init, no provider. It alone has the signing key. It finds
  out from the CI system which run was reviewed, and *seals* that run's wrapped plan: a signature over the plan's
  digest and everything that it is for (see `Binding`). It cannot read the plan.
- the *apply* job opens what was sealed in its own pipeline, for its own state, commit and files, and nothing else.

A key that seals and opens, in a job beside the change's code, sealed whatever that code put in its place.

Source: Ed25519 (RFC 8032), X25519 (RFC 7748), HKDF-SHA256 (RFC 5869), AES-256-GCM.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from interlock.bounded import decode_json
from interlock.errors import PolicyGate, UsageError, command

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAX_PLAN_BYTES = 256 << 20  # the same as a state inside a plan
KEY_BYTES = 32
NONCE_BYTES = 12
SHORT_DIGEST = 16  # hexadecimal digits of a plan's digest that people compare

_WRAPPED = b"interlock-wrapped-plan 1\n"
_SEALED = b"interlock-sealed-plan 2\n"
_SIGNATURE_BYTES, _LENGTH_BYTES = 64, 4
_MAX_BINDING_BYTES = 16 << 10
_SEAL, _PLAN, _WRAP = "ilseal_", "ilplan_", "ilwrap_"
_NEW_KEYS = "interlock ci keys    and keep them as docs/howto says"


class Binding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a sealed plan is for.

    Attributes:
        version: Of this record.
        state: State name.
        workspace: Terraform's workspace.
        run: The run of the CI system that made the plan, and was reviewed.
        attempt: Which attempt of it; a repetition makes another plan.
        commit: The commit that it planned.
        tree: The git tree of that commit: the same files give the same tree, whatever the commit.
        digest: SHA-256 of the plan file, in hexadecimal.
        wrapped: SHA-256 of the wrapped plan.
        pipeline: The run of the CI system in which it was sealed and is applied; an old one fits nowhere else.
    """

    version: int = 1
    state: str
    workspace: str = "default"
    run: str
    attempt: str
    commit: str
    tree: str
    digest: str
    wrapped: str
    pipeline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Fresh keys, as text.

    Attributes:
        seal: Secret; INTERLOCK_SEAL_KEY of the seal job.
        plan: Secret; INTERLOCK_PLAN_KEY of the apply job: it opens plans and knows whose seal counts.
        wrap: Public; `pipeline.plan_key` in interlock.yaml.
    """

    seal: str = field(repr=False)
    plan: str = field(repr=False)
    wrap: str


def make_keys(seed: bytes) -> Keys:
    """Return keys from `2 * KEY_BYTES` random bytes."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    signing, opening = seed[:KEY_BYTES], seed[KEY_BYTES : 2 * KEY_BYTES]
    verifying = Ed25519PrivateKey.from_private_bytes(signing).public_key().public_bytes_raw()
    wrapping = X25519PrivateKey.from_private_bytes(opening).public_key().public_bytes_raw()
    return Keys(
        seal=_spelled(_SEAL, signing), plan=_spelled(_PLAN, opening + verifying), wrap=_spelled(_WRAP, wrapping)
    )


def is_wrap_key(text: str) -> bool:
    """Say whether text is a public key for wrapping; a secret one in its place is not."""
    try:
        _read_key(text, _WRAP, KEY_BYTES, "")
    except UsageError:
        return False
    return True


def wrap(plan: bytes, wrap_key: str, *, ephemeral: bytes, nonce: bytes) -> bytes:
    """Wrap a plan, so that only the apply job can read it.

    Args:
        plan: The plan file.
        wrap_key: The public key.
        ephemeral: `KEY_BYTES` random bytes, fresh for every plan.
        nonce: `NONCE_BYTES` random bytes, likewise.

    Raises:
        UsageError: The key is none, or the plan too large.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    if len(plan) > MAX_PLAN_BYTES:
        raise UsageError("the plan is too large to wrap", why=f"it has more than {MAX_PLAN_BYTES} bytes")
    theirs = _read_key(wrap_key, _WRAP, KEY_BYTES, "INTERLOCK_WRAP_KEY")
    own = X25519PrivateKey.from_private_bytes(ephemeral)
    head = _WRAPPED + sha256(plan).digest() + own.public_key().public_bytes_raw() + nonce
    try:
        cipher = _cipher(own.private_bytes_raw(), theirs, ephemeral_first=True)
    except ValueError as error:  # a point of small order: whoever knows that it is one could read the plan
        raise UsageError("INTERLOCK_WRAP_KEY is not a public key", why=str(error), fix=_NEW_KEYS) from error
    return head + cipher.encrypt(nonce, plan, head)


def wrapped_digest(wrapped: bytes) -> str:
    """Return the digest that a wrapped plan claims; opening it checks the claim.

    Raises:
        PolicyGate: It is not a wrapped plan.
    """
    if not wrapped.startswith(_WRAPPED) or len(wrapped) < len(_WRAPPED) + 2 * KEY_BYTES + NONCE_BYTES:
        raise PolicyGate("this is not a wrapped plan", why="the plan job did not make it", fix=_wrap_again())
    return wrapped[len(_WRAPPED) : len(_WRAPPED) + KEY_BYTES].hex()


def bind(wrapped: bytes, **what: str) -> Binding:
    """Return what a wrapped plan is bound to; see `Binding` for the rest of its fields."""
    return Binding(digest=wrapped_digest(wrapped), wrapped=sha256(wrapped).hexdigest(), **what)  # type: ignore[arg-type]


def seal(wrapped: bytes, binding: Binding, seal_key: str) -> bytes:
    """Seal a wrapped plan.

    Raises:
        UsageError: The key is none.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signing = Ed25519PrivateKey.from_private_bytes(_read_key(seal_key, _SEAL, KEY_BYTES, "INTERLOCK_SEAL_KEY"))
    text = msgspec.json.encode(binding)
    return _SEALED + len(text).to_bytes(_LENGTH_BYTES) + text + signing.sign(_SEALED + text) + wrapped


def unseal(sealed: bytes, plan_key: str) -> tuple[bytes, Binding]:
    """Open a sealed plan; whoever opens it compares the binding, see `check_binding`.

    Raises:
        PolicyGate: The seal is not that of the seal job, or the plan is not the sealed one.
        UsageError: The key is none.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = _read_key(plan_key, _PLAN, 2 * KEY_BYTES, "INTERLOCK_PLAN_KEY")
    text, signature, wrapped = _parted(sealed)
    try:
        Ed25519PublicKey.from_public_bytes(key[KEY_BYTES:]).verify(signature, _SEALED + text)
        binding = decode_json(text, type=Binding)
    except (InvalidSignature, msgspec.MsgspecError, UnicodeDecodeError):
        why = "somebody else than the seal job made it, it was changed, or the two keys are not a pair"
        raise _refused(why) from None
    if sha256(wrapped).hexdigest() != binding.wrapped:
        raise _refused("another plan was put under this seal")
    return _unwrapped(wrapped, key[:KEY_BYTES], binding), binding


def check_binding(binding: Binding, **wanted: str) -> None:
    """Refuse a plan that was sealed for something else.

    Args:
        binding: What it is for.
        wanted: Fields of `Binding` and what they must be; `digest` may be its beginning, as long as people compare it.

    Raises:
        PolicyGate: It is for something else.
    """
    for name, value in wanted.items():
        found = str(getattr(binding, name))
        if not (_is_digest(found, value) if name == "digest" else found == value):
            raise _refused(f"its {name} is {found}, and {value or 'none'} was wanted")


def _is_digest(found: str, wanted: str) -> bool:
    """Compare a digest as `apply --plan-digest` does: one digit would be the same for every sixteenth plan."""
    digits = wanted.strip().lower().removeprefix("sha256:")
    return len(digits) >= SHORT_DIGEST and found.startswith(digits)


def _refused(why: str) -> PolicyGate:
    return PolicyGate("this is not the plan that was reviewed", why=why, fix="plan again and have it reviewed")


def _wrap_again() -> str:
    return command("ci", "wrap", "plan.bin")


def _parted(sealed: bytes) -> tuple[bytes, bytes, bytes]:
    """Divide a sealed plan into the binding's text, its signature, and the wrapped plan."""
    at = len(_SEALED) + _LENGTH_BYTES
    length = int.from_bytes(sealed[len(_SEALED) : at])
    if not sealed.startswith(_SEALED) or length > _MAX_BINDING_BYTES or len(sealed) < at + length + _SIGNATURE_BYTES:
        raise _refused("it is not a sealed plan")
    end = at + length + _SIGNATURE_BYTES
    return sealed[at : at + length], sealed[at + length : end], sealed[end:]


def _unwrapped(wrapped: bytes, opening: bytes, binding: Binding) -> bytes:
    from cryptography.exceptions import InvalidTag

    head = wrapped[: len(_WRAPPED) + 2 * KEY_BYTES + NONCE_BYTES]
    wrapped_digest(wrapped)
    theirs, nonce = head[-KEY_BYTES - NONCE_BYTES : -NONCE_BYTES], head[-NONCE_BYTES:]
    try:
        plan = _cipher(opening, theirs, ephemeral_first=False).decrypt(nonce, wrapped[len(head) :], head)
    except (InvalidTag, ValueError):
        raise _refused(
            "it was wrapped for another key: pipeline.plan_key and INTERLOCK_PLAN_KEY are not pair"
        ) from None
    if sha256(plan).hexdigest() != binding.digest:
        raise _refused("its digest is not the one that was shown")
    return plan


def _cipher(own: bytes, theirs: bytes, *, ephemeral_first: bool) -> AESGCM:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    private = X25519PrivateKey.from_private_bytes(own)
    mine = private.public_key().public_bytes_raw()
    salt = mine + theirs if ephemeral_first else theirs + mine
    shared = private.exchange(X25519PublicKey.from_public_bytes(theirs))
    return AESGCM(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=b"interlock wrapped plan").derive(shared))


def _spelled(kind: str, key: bytes) -> str:
    return kind + base64.urlsafe_b64encode(key).decode().rstrip("=")


def _read_key(text: str, kind: str, length: int, name: str) -> bytes:
    digits = text.strip().removeprefix(kind)
    try:
        key = base64.urlsafe_b64decode(digits + "=" * (-len(digits) % 4)) if text.strip().startswith(kind) else b""
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != length or _spelled(kind, key) != text.strip():
        raise UsageError(f"{name} is missing, or not a key of that kind", why=f"it begins with {kind}", fix=_NEW_KEYS)
    return key
