"""A provider or module could not be found or downloaded."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Retry, Rule, Sign, words
from interlock.errors import TerraformFailed

RULE: Final = Rule(
    category=Category.REGISTRY,
    meaning="a provider or module could not be found or downloaded",
    retry=Retry.SAFE,
    error=TerraformFailed,
    signs=(
        Sign(
            words=words(
                r"Failed to query available provider packages",
                r"Failed to install provider",
                r"Invalid provider registry host",
                r"Failed to download module",
                r"Error accessing remote module registry",
                r"Failed to retrieve available versions",
                r"Could not download module",
                r"Failed to resolve provider packages",
                r"no available releases match",
                r"provider registry \S{1,300} does not have a provider named",
                r"Module not found: The module address",
                r"could not (?:connect to|query provider registry)",
                r"checksum list has no",
                r"registry service is unreachable",
                r"Failed to query available module",
                r"error downloading '",
                r"Unresolvable module version constraint",
                r"the registry .{0,80}429",
            )
        ),
    ),
    advice=(
        "nothing was done: run again; if it happens again, check the source address (interlock lint) and the "
        "network, or use a mirror"
    ),
)
