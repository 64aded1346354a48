"""The machine has no room left."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Retry, Rule, Sign, words
from interlock.diagnosis.message import Kind
from interlock.errors import TerraformFailed

RULE: Final = Rule(
    category=Category.DISK_FULL,
    meaning="the disk is full",
    retry=Retry.NO,
    error=TerraformFailed,
    signs=(
        Sign(
            words=words(
                r"no space left on device",
                r"disk quota exceeded",
                r"not enough space on the disk",
                r"You are running out of disk space",
            ),
            kinds=frozenset({Kind.ERROR, Kind.NOTICE}),
        ),
    ),
    advice="make room (df -h; TF_PLUGIN_CACHE_DIR saves a copy of each provider a run), then run again",
)
