"""The secrets of Interlock itself: which variables hold them, who must not get them, how good they must be. Pure."""

from __future__ import annotations

from collections.abc import Mapping

OWN_SECRETS = frozenset(
    {
        "INTERLOCK_TOKEN",
        "INTERLOCK_PLAN_KEY",
        "INTERLOCK_SEAL_KEY",
        "INTERLOCK_NOTIFY_URL",
        "INTERLOCK_CI_TOKEN",
        "INTERLOCK_ID_TOKEN",
        "INTERLOCK_AUDIT_KEY",
        "INTERLOCK_ENCRYPTION_KEY",
    }
)
"""Ours, for ourselves."""


def without_own_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a program that is not ours: Terraform, what a configuration executes, git."""
    return {name: value for name, value in environ.items() if name not in OWN_SECRETS}


CHARS_MIN = 16
"""Fewest characters of a token: 64 bits even when they are hexadecimal."""
DIFFERENT_MIN = 8
"""Fewest different characters: `aaaaaaaaaaaaaaaa` and `changemechangeme` have fewer; of 16 random hexadecimal digits
one in a hundred, of 32 one in ten million."""


def weakness(secret: str, *, chars_min: int = CHARS_MIN) -> str:
    """Return why strangers can guess a secret; empty when they cannot, as far as can be seen from it."""
    if len(secret) < chars_min:
        return f"it has fewer than {chars_min} characters"
    if len(set(secret)) < DIFFERENT_MIN:
        return f"it has fewer than {DIFFERENT_MIN} different characters"
    return ""
