"""Sealing a plan file, so that it can wait between review and merge where others can read.

A plan holds secret values. Sealed, it can neither be read nor changed nor passed off as another state's or another
commit's plan: state and tree are part of what AES-256-GCM authenticates. The key is drawn from a passphrase that only
the CI system knows (INTERLOCK_PLAN_KEY) with HKDF-SHA256, which wants a random passphrase, not a memorable one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.errors import UsageError, command

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAX_PLAN_BYTES = 256 << 20  # the same as a state inside a plan
MIN_PASSPHRASE = 24  # characters; `openssl rand -base64 32` gives 44
SALT_BYTES = 16
NONCE_BYTES = 12

_MAGIC = b"interlock-sealed-plan 1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a plan is for.

    Attributes:
        state: The state's name.
        tree: The git tree from which it was made: the same files give the same tree, whatever the commit.
    """

    state: str
    tree: str

    @property
    def name(self) -> str:
        """The artifact's name: letters, digits and hyphens."""
        safe = "".join(character if character.isalnum() else "-" for character in self.state.lower())
        return f"interlock-plan-{safe}-{self.tree[:40]}"

    def bound(self) -> bytes:
        """Return what is authenticated beside the plan."""
        return _MAGIC + self.state.encode() + b"\0" + self.tree.encode()


def seal(plan: bytes, label: Label, passphrase: str, *, salt: bytes, nonce: bytes) -> bytes:
    """Seal a plan.

    Args:
        plan: The plan file.
        label: What it is for.
        passphrase: The shared secret.
        salt: `SALT_BYTES` random bytes, fresh for every plan.
        nonce: `NONCE_BYTES` random bytes, likewise.

    Raises:
        UsageError: The passphrase is too short, or the plan too large.
    """
    if len(plan) > MAX_PLAN_BYTES:
        raise UsageError("the plan is too large to seal", why=f"it has more than {MAX_PLAN_BYTES} bytes")
    cipher = _cipher(passphrase, salt)
    return _MAGIC + salt + nonce + cipher.encrypt(nonce, plan, label.bound())


def unseal(sealed: bytes, label: Label, passphrase: str) -> bytes:
    """Open a sealed plan.

    Raises:
        UsageError: It is no sealed plan, was changed, is another state's or tree's, or the passphrase is another one.
    """
    from cryptography.exceptions import InvalidTag

    head = len(_MAGIC)
    if not sealed.startswith(_MAGIC) or len(sealed) < head + SALT_BYTES + NONCE_BYTES:
        raise UsageError("this is not a sealed plan", fix=command("ci", "seal", "plan.bin", "--state", label.state))
    salt = sealed[head : head + SALT_BYTES]
    nonce = sealed[head + SALT_BYTES : head + SALT_BYTES + NONCE_BYTES]
    try:
        return _cipher(passphrase, salt).decrypt(nonce, sealed[head + SALT_BYTES + NONCE_BYTES :], label.bound())
    except InvalidTag:
        raise UsageError(
            f"the sealed plan of {label.state} cannot be opened",
            why="it was changed, was made for another state or commit, or INTERLOCK_PLAN_KEY is another one",
            fix="plan again and have it reviewed",
        ) from None


def _cipher(passphrase: str, salt: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    if len(passphrase) < MIN_PASSPHRASE:
        raise UsageError(
            "INTERLOCK_PLAN_KEY is missing or too short",
            why=f"it must have at least {MIN_PASSPHRASE} random characters",
            fix="openssl rand -base64 32    and keep the result as a secret of the CI system",
        )
    key = HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"interlock plan").derive(passphrase.encode())
    return AESGCM(key)
