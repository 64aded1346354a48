"""The configuration, its values or the command line are wrong."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Facts, Retry, Rule, Sign, words
from interlock.errors import TerraformFailed, UsageError

_HEADLINES: Final = (
    r"Unsupported (?:argument|block type|attribute|operator)",
    r"Invalid ",
    r"Missing (?!required provider\b(?! conf))",
    r"Reference to undeclared",
    r"Duplicate ",
    r"Argument or block definition required",
    r"Argument definition required",
    r"Attribute redefined",
    r"Un(?:closed|terminated|expected) ",
    r"No value for required variable",
    r"No configuration files",
    r"Cycle:",
    r"Self-referential",
    r"(?:Error in|Call to|Unknown) .{0,20}(?:function|variable)",
    r"Incorrect (?:attribute value type|condition type)",
    r"Inconsistent conditional",
    r"Failed to parse command-line",
    r"Too (?:many|few) ",
    r"(?:Not enough|Insufficient|Extraneous|Ambiguous|Conflicting|Circular) ",
    r"Failed to load .{0,300} as a plan file",
    r"Unreadable module",
    r"Module not found",
    r"Resource (?:pre|post)condition failed",
    r"Module output value precondition",
    r"Check block assertion",
    r"Instance cannot be destroyed",
    r"Provider configuration not present",
    r"(?:Variables|Function calls) not allowed",
    r"Output refers to sensitive",
    r"Sensitive value",
    r"Value for un(?:declared|configurable)",
    r"Plan file or auto-approve required",
    r"Can't change variable when applying",
    r"(?:local-exec|remote-exec|file) provisioner error",
    r"Moved object still exists",
    r"Resource already managed",
    r"Unable to (?:parse|evaluate)",
    r"Configuration for import",
    r"Iteration over",
    r"Attempt to (?:get|index|call)",
    r"Backend (?:type|initialization failed)",
    r"Terraform has no command",
    r"Unclear (?:path|target)",
)
"""Headlines that Terraform gives only to mistakes in the configuration or on the command line."""


def _advice(facts: Facts) -> str:
    where = f" at {facts.address}" if facts.address else ""
    return f"correct the configuration{where}: terraform validate, interlock lint"


RULE: Final = Rule(
    category=Category.CONFIG_ERROR,
    meaning="the configuration, its values or the command line are wrong",
    retry=Retry.NO,
    error=TerraformFailed,
    error_before=UsageError,
    signs=(
        Sign(
            words=words(*(f"Error: {headline}" for headline in _HEADLINES)),
            unless=words(
                r"\bHTTP error",
                r"does not match the given state",
                r"Missing required provider(?! conf)",
                r"API Error: (?:401|403|404|409|429|5)",
            ),
        ),
        Sign(
            words=words(
                r"plan files cannot be transferred",
                r"workspaces not supported",
                r"Operation type not supported",
                r"expected \S{1,200} to be one of",
                r"Unable to parse configuration",
                r"No configuration files",
                r"is not a valid",
                r"API Error: (?:400|405|413|415|422)",
                r'"statusCode": ?(?:400|405|413|415|422)',
                r"validation (?:failed|error)",
                r"already exists",
                r"must be unique",
                r"bad\.request",
                r"invalid\.(?:value|request)",
                r"is (?:already )?in use\b",
                r"duplicate",
                r"no such file or directory",
                r"Error parsing command-line",
            )
        ),
        Sign(words=words(r"Terraform encountered problems during initiali[sz]ation"), is_echo=True),
    ),
    advice=_advice,
)
