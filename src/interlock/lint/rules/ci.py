"""The rules about CI files, in the order in which people read them."""

from __future__ import annotations

from interlock.lint.rule import Rule
from interlock.lint.rules import (
    ci_azure_run_latest,
    ci_cancel_in_progress,
    ci_force_unlock,
    ci_fork_secrets,
    ci_gitlab_unordered,
    ci_group_per_ref,
    ci_lock_disabled,
    ci_long_lived_secret,
    ci_no_lock_timeout,
    ci_parallelism,
    ci_pending_dropped,
    ci_plan_exposed,
    ci_retry_no_backoff,
    ci_signal_lost,
    ci_step_without_credentials,
    ci_terraform_unpinned,
    ci_timeout,
    ci_unpinned_action,
    ci_unreviewed_apply,
    ci_unserialized,
)

CI_RULES: tuple[Rule, ...] = (
    ci_unserialized.RULE,
    ci_group_per_ref.RULE,
    ci_cancel_in_progress.RULE,
    ci_pending_dropped.RULE,
    ci_gitlab_unordered.RULE,
    ci_azure_run_latest.RULE,
    ci_lock_disabled.RULE,
    ci_no_lock_timeout.RULE,
    ci_parallelism.RULE,
    ci_unreviewed_apply.RULE,
    ci_force_unlock.RULE,
    ci_step_without_credentials.RULE,
    ci_signal_lost.RULE,
    ci_timeout.RULE,
    ci_retry_no_backoff.RULE,
    ci_long_lived_secret.RULE,
    ci_unpinned_action.RULE,
    ci_fork_secrets.RULE,
    ci_plan_exposed.RULE,
    ci_terraform_unpinned.RULE,
)
