"""A provider or module could not be found or downloaded."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, words
from interlock.diagnosis.message import Message
from interlock.errors import AuthenticationFailed, TerraformFailed, UsageError

_DOWNLOADING: Final = words(
    r"Failed to (?:download|install|query|resolve|retrieve)",
    r"Could not (?:download|retrieve)",
    r"error downloading",
    r"Error accessing remote module",
)


def _downloads(message: Message, _facts: Facts, _context: Context) -> bool:
    return _DOWNLOADING.search(message.text) is not None


def _source(facts: Facts) -> str:
    if not facts.meant:
        return (
            "write the provider's right source address into required_providers of each module that uses it; "
            f"{facts.tool} providers    shows which module asks for it, and interlock lint --fix puts known ones right"
        )
    return (
        f'write source = "{facts.meant}" into required_providers of each module that uses it: interlock lint --fix    '
        f"(rule provider-source); {facts.tool} providers    shows which module asks for it"
    )


def _lock_file(facts: Facts) -> str:
    return (
        f"{facts.tool} providers lock -platform=linux_amd64 -platform=darwin_arm64    and commit "
        f".terraform.lock.hcl; a "
        "checksum that changed without a new version is a reason to look, not to overwrite"
    )


def _versions(facts: Facts) -> str:
    return (
        f"make the version constraints agree: {facts.tool} providers    shows all of a provider's; a module's "
        "constraint counts too"
    )


RULE: Final = Rule(
    category=Category.REGISTRY,
    meaning="a provider or module could not be found or downloaded",
    retry=Retry.SAFE,
    error=TerraformFailed,
    signs=(
        Sign(
            words=words(
                r"does not have a provider named \S{1,200}",
                r"Did you intend to use \S{1,200}\?",
                r"no provider named \S{1,200}",
                r"Invalid provider (?:source|name)",
                r"Invalid provider registry host",
            ),
            meaning="no registry has a provider of this source address",
            retry=Retry.NO,
            advice=_source,
            error=UsageError,
        ),
        Sign(
            words=words(
                r"no available releases match",
                r"Unresolvable module version constraint",
                r"no versions? .{0,100}match(?:es)? the given (?:version )?constraints?",
            ),
            meaning="no version of a provider or module fits all constraints",
            retry=Retry.NO,
            advice=_versions,
            error=UsageError,
        ),
        Sign(
            words=words(
                r"Module not found: The module address",
                r"module registry .{0,200}does not have a module",
                r"subdirectory \S{1,200} not found",
                r"Unreadable module (?:subdirectory|directory)",
                r"pathspec .{0,200}did not match",
                r"couldn't find remote ref",
                r"Remote branch .{0,200}not found",
                r"bad response code: 404",
            ),
            meaning="a module's source, or the branch or tag in it, does not exist",
            retry=Retry.NO,
            advice="correct the source of the module (address, //folder, ?ref=): interlock lint",
            error=UsageError,
        ),
        Sign(
            words=words(
                r"could not read (?:Username|Password)",
                r"Permission denied \(publickey",
                r"Host key verification failed",
                r"Repository not found",
                r"Authentication failed for",
                r"terminal prompts disabled",
                r"(?:registry|module) .{0,200}\b40[13]\b",
                r"Forbidden .{0,80}module",
                r"(?:returned error|response code): 40[13]",
            ),
            within=words(r"[Mm]odule", r"provider", r"git"),
            meaning="a module or provider is private, and this step has no right to read it",
            retry=Retry.NO,
            advice=(
                "give this step the right to read it: a deploy key or token for git (url.insteadOf), "
                "TF_TOKEN_host for a "
                "registry; then run again"
            ),
            error=AuthenticationFailed,
            proof=_downloads,
        ),
        Sign(
            words=words(
                r"checksums? .{0,120}(?:do(?:es)?n't|does not|do not) match",
                r"doesn't match any of the checksums",
                r"(?:does not|doesn't) match any of the checksums",
                r"checksum list has (?:no|unexpected)",
                r"incorrect checksum",
                r"authentication signature .{0,100}invalid",
            ),
            unless=words(r"Required plugins are not installed"),
            meaning="a provider is not the one that the lock file names",
            retry=Retry.NO,
            advice=_lock_file,
            error=UsageError,
        ),
        Sign(
            words=words(
                r"Failed to query available provider packages",
                r"Failed to request discovery document",
                r"Failed to load plugin schemas.{0,200}registry",
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
