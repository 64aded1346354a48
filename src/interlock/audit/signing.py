"""A key outside the store, with which entries of the audit log are signed (HMAC-SHA256).

Whoever can write the store can make another chain, or a shorter one, whose digests agree. Without the key they cannot
sign it. Whoever has the key can: it proves nothing against the people and jobs that write the log.

Knows: bytes. Where the key comes from is the business of who opens the log.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from pathlib import Path

from interlock.audit.entry import Entry, encode
from interlock.errors import UsageError
from interlock.trust.own_secrets import weakness
from interlock.trust.secret_file import making_command

KEY_CHARS_MIN = 32
"""As many random characters as make guessing hopeless: 128 bits and more, whatever the alphabet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditKey:
    """The key; no repr shows it."""

    secret: bytes = field(repr=False)

    def sign(self, entry: Entry) -> Entry:
        """Return the entry with its signature."""
        return replace(entry, signature=self._of(encode(replace(entry, signature=""))))

    def fits(self, stored: bytes, entry: Entry) -> bool:
        """Say whether an entry was signed with this key as it is stored.

        Args:
            stored: Its stored bytes. They are checked themselves, so that a later Interlock's fields count too.
            entry: What they say.
        """
        # Inside of texts JSON escapes quotation marks, so this is found in its own place alone.
        bare = stored.replace(f'"signature":"{entry.signature}"'.encode(), b'"signature":""')
        return hmac.compare_digest(self._of(bare), entry.signature)

    def seal(self, message: bytes) -> str:
        """Return the signature of the last line of an exported log; see `export`."""
        return hmac.new(self.secret, b"interlock audit export\0" + message, hashlib.sha256).hexdigest()

    def _of(self, message: bytes) -> str:
        return hmac.new(self.secret, b"interlock audit entry\0" + message, hashlib.sha256).hexdigest()


def parse_key(text: str, *, said_by: str) -> AuditKey:
    """Return the key that a variable or a file holds.

    Args:
        text: At least `KEY_CHARS_MIN` characters; white space around them does not count.
        said_by: The variable or file, for people.

    Raises:
        UsageError: It is too short to be a key, or has few different characters.
    """
    key = text.strip()
    if why := weakness(key, chars_min=KEY_CHARS_MIN):
        raise UsageError(
            f"the key in {said_by} can be guessed",
            why=why,
            fix=f"{making_command(Path('audit.key'))}    makes one",
        )
    return AuditKey(secret=key.encode())
