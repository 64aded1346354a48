"""The configuration, its values or the command line are wrong."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, is_about_backend, words
from interlock.diagnosis.message import Message
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
    r"(?:Terraform|OpenTofu) has no command",
    r"Unclear (?:path|target)",
)
"""Headlines that Terraform gives only to mistakes in the configuration or on the command line."""


def _is_backend(message: Message, _facts: Facts, _context: Context) -> bool:
    return is_about_backend(message)


def _advice(facts: Facts) -> str:
    where = f" at {facts.address}" if facts.address else ""
    return f"correct the configuration{where}: {facts.tool} validate, interlock lint"


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
            words=words(r"NotImplemented", r"StatusCode: 501", r"MethodNotAllowed", r"StatusCode: 405"),
            within=words(r"acquiring (?:the )?state lock", r"locking state"),
            meaning="the store cannot lock: it does not know conditional writes",
            advice=(
                "use_lockfile needs a store that knows If-None-Match: lock with dynamodb_table, or use another store"
            ),
            error=UsageError,
        ),
        Sign(
            words=words(
                r"XAmzContentSHA256Mismatch",
                r"x-amz-content-sha256",
                r"x-amz-checksum",
                r"Content-MD5 (?:HTTP header|OR)",
                r"InvalidArgument",
            ),
            within=words(r"operation error S3: "),
            meaning="the store is not quite S3: it does not take Terraform's checksums",
            advice=(
                "skip_s3_checksum = true in the backend block, and "
                "AWS_REQUEST_CHECKSUM_CALCULATION=when_required in the "
                "environment; a bucket with object lock wants the checksums instead"
            ),
            error=UsageError,
            proof=_is_backend,
        ),
        Sign(
            words=words(
                r"Saving a generated plan is currently not supported",
                r"Applying a saved plan is currently not supported",
                r"does not support saving",
                r"does not support applying a saved",
            ),
            meaning='backend "remote" takes no plan file',
            advice=(
                'use the cloud block in place of backend "remote" (Terraform 1.6 and later save and '
                "apply plans with it), "
                "or leave -out away and review the run in HCP Terraform"
            ),
            error=UsageError,
        ),
        Sign(
            words=words(
                r"(?:is|are) currently not supported",
                r"not supported (?:by|with|in) (?:the )?\"?remote\"? backend",
                r"currently does not support",
            ),
            meaning="where the run is carried out this flag is not taken",
            advice="leave the flag away, or set it in the workspace; terraform itself then asks for nothing else",
            error=UsageError,
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
                r"bad\.request",
                r"invalid\.(?:value|request)",
                r"is (?:already )?in use\b",
                r"no such file or directory",
                r"Error parsing command-line",
            )
        ),
        Sign(words=words(r"(?:Terraform|OpenTofu) encountered problems during initiali[sz]ation"), is_echo=True),
    ),
    advice=_advice,
)
