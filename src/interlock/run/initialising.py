"""What a failed `terraform init` means when providers are overridden for development.

With `dev_overrides` Terraform uses the named executables and needs no installation, but `init` still asks the registry
for them and fails, after it has set up backend and modules (Terraform 1.11.4 and 1.15.5, OpenTofu 1.12.6, measured).
"""

from __future__ import annotations

from interlock.late_pattern import late

_QUERY_FAILED = ("Failed to query available provider packages", "Failed to resolve provider packages")
"""Terraform, and OpenTofu."""
_ERROR = late(r"Error: (.+)")


def is_only_override(output: str, cli_config: str) -> bool:
    """Say whether init failed for nothing but providers that could be overridden; the plan then tells the truth.

    Args:
        output: What init printed.
        cli_config: The text of Terraform's CLI configuration file.
    """
    errors = _ERROR.findall(output)
    return "dev_overrides" in cli_config and bool(errors) and all(error.startswith(_QUERY_FAILED) for error in errors)
