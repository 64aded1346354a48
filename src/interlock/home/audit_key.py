"""The key that signs a home's audit log, as the operator names it. A hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from interlock.audit.signing import AuditKey, parse_key
from interlock.trust.secret_file import read_secret_file

KEY = "INTERLOCK_AUDIT_KEY"
KEY_FILE = "INTERLOCK_AUDIT_KEY_FILE"


def find_key(environ: Mapping[str, str]) -> AuditKey | None:
    """Return the key that signs entries; None when the operator has set none.

    Raises:
        UsageError: It cannot be read, others can read it, or it is too short.
    """
    if text := environ.get(KEY):
        return parse_key(text, said_by=KEY)
    if not (named := environ.get(KEY_FILE)):
        return None
    return parse_key(read_secret_file(Path(named), what="the key of the audit log"), said_by=named)
