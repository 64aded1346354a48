"""What each Terraform and OpenTofu version can do.

Source: docs/facts/opentofu.md; `init -json` since 1.9.0: docs/facts/terraform-runs.md#run-3.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from functools import total_ordering
from typing import Final, TypeAlias

from interlock.errors import UsageError
from interlock.late_pattern import late

MAX_VERSION_CHARS: Final = 64 * 1024  # `terraform version` lists every provider; a hundred fit in 10 KB

Release: TypeAlias = tuple[int, int, int]


class Product(Enum):
    """The two tools; they count their versions alike up to 1.5 and apart from then on."""

    TERRAFORM = "terraform"
    TOFU = "tofu"


@total_ordering
@dataclass(frozen=True, slots=True, kw_only=True)
class ToolVersion:
    """One tool and its version; a pre-release sorts before its release."""

    product: Product
    release: Release
    prerelease: str = ""

    def __str__(self) -> str:
        """Spell it `1.11.4` or `1.15.0-beta1`."""
        return ".".join(map(str, self.release)) + (f"-{self.prerelease}" if self.prerelease else "")

    def __lt__(self, other: ToolVersion) -> bool:
        """Order by release, then pre-releases before the release itself."""
        return self._rank() < other._rank()

    def _rank(self) -> tuple[Release, bool, str]:
        return (self.release, not self.prerelease, self.prerelease)

    def is_at_least(self, *release: int) -> bool:
        """Say whether this is `release` (one to three numbers) or later; a pre-release counts as its release."""
        return self.release[: len(release)] >= release

    @property
    def has_json_plan(self) -> bool:
        """`plan -json` and `apply -json` exist (0.15.3)."""
        return self.is_at_least(0, 15, 3)

    @property
    def has_json_init(self) -> bool:
        """`init -json` exists (Terraform 1.9; OpenTofu took it over with 1.8 and later)."""
        return self.is_at_least(1, 9)

    @property
    def reads_before_lock(self) -> bool:
        """The HTTP backend sends an extra GET before LOCK (Terraform 1.14.4)."""
        return self.product is Product.TERRAFORM and self.is_at_least(1, 14, 4)

    @property
    def shows_holder(self) -> bool:
        """A refused HTTP lock prints the holder's lock info, not the asker's own (Terraform 1.15)."""
        return self.product is Product.TERRAFORM and self.is_at_least(1, 15)

    @property
    def needs_json_conflict(self) -> bool:
        """`-lock-timeout` only retries when the 423 body is JSON with an ID (Terraform 1.15)."""
        return self.shows_holder

    @property
    def sends_unlock_body(self) -> bool:
        """`force-unlock` names the lock in the UNLOCK body (OpenTofu; Terraform sends an empty one)."""
        return self.product is Product.TOFU

    @property
    def has_s3_lockfile(self) -> bool:
        """`use_lockfile` exists in the S3 backend (1.10 for both)."""
        return self.is_at_least(1, 10)

    @property
    def deprecates_dynamodb(self) -> bool:
        """`dynamodb_table` prints a warning (Terraform 1.11)."""
        return self.product is Product.TERRAFORM and self.is_at_least(1, 11)

    @property
    def reads_kubernetes_parts(self) -> bool:
        """The kubernetes backend goes on in further Secrets where one is full (Terraform 1.6; OpenTofu does not)."""
        return self.product is Product.TERRAFORM and self.is_at_least(1, 6)

    @property
    def title(self) -> str:
        """As people name it: `OpenTofu 1.12.6`."""
        return f"{'Terraform' if self.product is Product.TERRAFORM else 'OpenTofu'} {self}"

    @property
    def writes_identity(self) -> bool:
        """States carry `identity` per instance (Terraform 1.12)."""
        return self.product is Product.TERRAFORM and self.is_at_least(1, 12)


_SPELLED: Final = r"v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:-([0-9A-Za-z.-]{1,64}))?(?:\+\S{1,64})?"
_VERSION: Final = late(_SPELLED)
_FIRST_LINE: Final = late(rf"(Terraform|OpenTofu) ({_SPELLED})")


def parse_version(text: str, *, product: Product = Product.TERRAFORM) -> ToolVersion:
    """Read a bare version such as `v1.11.4` or `1.15.0-beta1`.

    Raises:
        UsageError: It is not a version.
    """
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        raise _unreadable(text)
    return _from_match(match, product)


def parse_version_output(text: str, *, product: Product = Product.TERRAFORM) -> ToolVersion:
    """Read what `terraform version` or `tofu version` printed, with `-json` or without.

    Args:
        text: Standard output.
        product: Which tool was run; needed for JSON, where OpenTofu calls its version `terraform_version` too.

    Raises:
        UsageError: There is no version in it.
    """
    text = text[:MAX_VERSION_CHARS]
    match = _FIRST_LINE.search(text)
    if match is not None:
        return parse_version(match[2], product=Product.TOFU if match[1] == "OpenTofu" else Product.TERRAFORM)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(text) from error
    version = document.get("terraform_version") if isinstance(document, dict) else None
    if not isinstance(version, str):
        raise _unreadable(text)
    return parse_version(version, product=product)


def _from_match(match: re.Match[str], product: Product) -> ToolVersion:
    major, minor, patch, prerelease = match.groups()
    return ToolVersion(product=product, release=(int(major), int(minor), int(patch)), prerelease=prerelease or "")


def _unreadable(text: str) -> UsageError:
    return UsageError(
        "the version of Terraform cannot be read",
        why=f"it answered {text[:200]!r}",
        fix="check that --terraform or INTERLOCK_TERRAFORM names a terraform or tofu program",
    )
