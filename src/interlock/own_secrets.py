"""The secrets of Interlock itself: which variables of the environment hold them, and who must not get them. Pure."""

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
    }
)
"""Ours, for ourselves."""


def without_own_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a program that is not ours: Terraform, what a configuration executes, git."""
    return {name: value for name, value in environ.items() if name not in OWN_SECRETS}
