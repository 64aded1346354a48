"""An object that is to be made exists already: the state does not know it.

That is no mistake in the configuration, and no dependency: the state was lost or is another one, somebody made the
object by hand, or an earlier run made it and could not say so.
"""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.backends import KNOWN
from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, is_about_backend, words
from interlock.diagnosis.message import Message
from interlock.errors import THIS_STATE, TerraformFailed, command


def _is_api(message: Message, _facts: Facts, _context: Context) -> bool:
    return not is_about_backend(message) and not message.summary.startswith(("Duplicate ", "Moved object"))


def _advice(facts: Facts) -> str:
    return f"look whether the state was lost or is another one: {_earlier(facts)}; else bring it in: {_bring_in(facts)}"


def _earlier(facts: Facts) -> str:
    if facts.backend in {"cloud", "remote"}:
        return "the States page of the workspace"
    if facts.backend in KNOWN or not facts.backend:
        bring_back = command("state", "restore", THIS_STATE)
        return f"{command('state', 'history', THIS_STATE)}    and to bring a version back: {bring_back}"
    return "the older versions of the state in its backend"


def _bring_in(facts: Facts) -> str:
    kind = facts.resource_type
    if kind.startswith("genesyscloud_"):
        return (
            f"{command('recover', THIS_STATE, '--orphans')}    prints the import block when an earlier run made it; "
            f"{command('drift', 'scan', '--unmanaged', kind)}    prints what it needs, or an import block with its id"
        )
    return f"an import block with its id{f', to = {facts.address}' if facts.address else ''}"


RULE: Final = Rule(
    category=Category.API_EXISTS,
    meaning="the object exists already, but this state does not know it",
    retry=Retry.NO,
    error=TerraformFailed,
    signs=(
        Sign(
            words=words(r"BucketAlreadyExists\b", r"StorageAccountAlreadyTaken", r"globally unique"),
            meaning="the name is taken by somebody else",
            advice="choose another name: this one is unique in the whole cloud, and not yours",
        ),
        Sign(
            words=words(
                r"already exists?\b",
                r"must be unique",
                r"not unique",
                r"name (?:is )?already",
                r"AlreadyExists",
                r"AlreadyOwnedByYou",
                r"already (?:been )?(?:taken|registered)",
                r"duplicate (?:name|key|value|entry)",
                r"\bduplicate\b.{0,60}(?:name|exists)",
                r"(?:name|email|number|extension|address) .{0,60}is (?:already )?in use",
                r"needs to be imported into the State",
                r"general\.duplicate",
                r"\bDuplicateName\b",
            ),
        ),
    ),
    advice=_advice,
    proof=_is_api,
)
