"""Terraform, or a provider, is of the wrong version for the configuration or the state."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Retry, Rule, Sign, words
from interlock.errors import UsageError

RULE: Final = Rule(
    category=Category.VERSION_MISMATCH,
    meaning="Terraform or a provider has the wrong version for this configuration or state",
    retry=Retry.NO,
    error=UsageError,
    signs=(
        Sign(
            words=words(
                r"Unsupported (?:Terraform|OpenTofu) Core version",
                r"managed by newer provider version",
                r"does not support .{1,40}version .{0,60}required by",
                r"This configuration does not support (?:Terraform|OpenTofu) version",
                r"plan file was created by (?:OpenTofu or )?Terraform",
                r"Incompatible (?:provider )?version",
                r"Incompatible API version with plugin",
                r"state snapshot was created by (?:Terraform|OpenTofu) v\S{1,30}, (?:but|which) is",
                r"newer than current v",
                r"incompatible with this version of (?:Terraform|OpenTofu)",
                r"Incompatible (?:Terraform|OpenTofu) version",
                r"or newer is required to (?:read|work)",
                r"is not compatible with (?:Terraform|OpenTofu)",
                r"which is not supported by (?:Terraform|OpenTofu) ",  # a state of a format that is still to come
                r"Provider .{1,200} v\S{1,30} does not have a package",
            )
        ),
    ),
    advice=(
        "use the version that the configuration names, everywhere: pin it with required_version and in "
        "CI (interlock lint)"
    ),
)
