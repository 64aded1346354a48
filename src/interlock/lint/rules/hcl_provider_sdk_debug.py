"""A provider that writes every call into a file."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.hcl import constant_flag
from interlock.lint import organisation
from interlock.lint.editing import replace
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject


def check(sources: Sources) -> Iterator[Finding]:
    """Yield provider configurations with `sdk_debug` on."""
    for module in sources.all_modules():
        for provider in organisation.providers(module):
            debug = provider.block.body.attributes.get("sdk_debug")
            if debug is not None and constant_flag(debug.value, module.scope) is True:
                yield RULE.finding(
                    debug.span,
                    "every request and answer, with people's data in them, is written to a file beside the state",
                    edits=(replace(debug.value.span, "false"),),
                )


RULE = Rule(
    name="provider-sdk-debug",
    severity=Severity.WARNING,
    subject=Subject.PROVIDER,
    what="A `genesyscloud` provider block sets `sdk_debug = true`.",
    why=(
        "The provider then logs whole requests and answers to `sdk_debug.log`: users, e-mail addresses, whatever the "
        "objects hold. CI systems keep such files, and a long run writes gigabytes."
    ),
    fix="remove it; set GENESYSCLOUD_SDK_DEBUG=true for the one run that is being looked into",
    bad={"main.tf": 'provider "genesyscloud" {\n  sdk_debug = true\n}\n'},
    good={"main.tf": 'provider "genesyscloud" {\n  sdk_debug = false\n}\n'},
    fixable=True,
    check=check,
)
