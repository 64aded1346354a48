"""Every rule, listed by hand, in the order in which people read them.

A new rule is one file in `rules/`, one line here, and one section in docs/reference/lint-rules.md (which is written
from the rule itself, see `reference.py`).
"""

from __future__ import annotations

from interlock.lint.rule import Rule
from interlock.lint.rules import (
    ci_syntax,
    hcl_backend_credentials_in_config,
    hcl_backend_key_shared,
    hcl_backend_missing,
    hcl_backend_s3_dynamodb_deprecated,
    hcl_backend_s3_no_lock,
    hcl_backend_s3_unencrypted,
    hcl_dependency_cycle,
    hcl_dependency_hidden,
    hcl_force_deleted,
    hcl_lock_table_key,
    hcl_lock_table_provisioned,
    hcl_lock_table_ttl,
    hcl_provider_sdk_debug,
    hcl_provider_secret_literal,
    hcl_provider_source,
    hcl_provider_static_token,
    hcl_provider_token_pool,
    hcl_provider_unknown_argument,
    hcl_provider_version,
    hcl_reference_by_name,
    hcl_reference_literal_id,
    hcl_state_bucket_public,
    hcl_state_bucket_unversioned,
    hcl_syntax,
    ignore_incomplete,
    settings_invalid,
)
from interlock.lint.rules.ci import CI_RULES

HCL_RULES: tuple[Rule, ...] = (
    hcl_syntax.RULE,
    ci_syntax.RULE,
    ignore_incomplete.RULE,
    settings_invalid.RULE,
    hcl_backend_missing.RULE,
    hcl_backend_s3_no_lock.RULE,
    hcl_backend_s3_dynamodb_deprecated.RULE,
    hcl_backend_s3_unencrypted.RULE,
    hcl_backend_credentials_in_config.RULE,
    hcl_backend_key_shared.RULE,
    hcl_lock_table_key.RULE,
    hcl_lock_table_provisioned.RULE,
    hcl_lock_table_ttl.RULE,
    hcl_state_bucket_unversioned.RULE,
    hcl_state_bucket_public.RULE,
    hcl_provider_source.RULE,
    hcl_provider_unknown_argument.RULE,
    hcl_provider_static_token.RULE,
    hcl_provider_secret_literal.RULE,
    hcl_provider_version.RULE,
    hcl_provider_token_pool.RULE,
    hcl_provider_sdk_debug.RULE,
    hcl_reference_literal_id.RULE,
    hcl_reference_by_name.RULE,
    hcl_dependency_hidden.RULE,
    hcl_dependency_cycle.RULE,
    hcl_force_deleted.RULE,
)

RULES: tuple[Rule, ...] = (*HCL_RULES, *CI_RULES)


def find_rule(name: str) -> Rule | None:
    """Return the rule of that name, or None."""
    return next((rule for rule in RULES if rule.name == name), None)
