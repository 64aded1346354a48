"""Every cause that `interlock explain` knows, one a file, in the order in which they are tried on a message.

The first that fits is taken. So the special stand before the general: what names its trouble in words of its own first,
then the backend (before the API, because both say 429), then the API, then what any program can meet.
"""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Rule
from interlock.diagnosis.causes import (
    api_auth,
    api_dependency,
    api_exists,
    api_flow_publish,
    api_gone,
    api_permission,
    api_rate_limit,
    api_server_error,
    api_version_conflict,
    backend_auth,
    backend_missing,
    backend_throttled,
    cancelled,
    config_error,
    cut_off,
    digest_mismatch,
    disk_full,
    gate_refused,
    init_required,
    lock_held,
    lock_own_lost_response,
    lock_release_failed,
    network,
    plan_stale,
    provider_crash,
    provider_inconsistent,
    registry,
    state_corrupt,
    state_not_saved,
    state_refused,
    timeout,
    version_mismatch,
)

RULES: Final[tuple[Rule, ...]] = (
    cut_off.RULE,
    lock_release_failed.RULE,
    state_refused.RULE,
    state_not_saved.RULE,
    disk_full.RULE,
    plan_stale.RULE,
    digest_mismatch.RULE,
    version_mismatch.RULE,
    state_corrupt.RULE,
    registry.RULE,
    init_required.RULE,
    gate_refused.RULE,
    lock_own_lost_response.RULE,
    lock_held.RULE,
    backend_missing.RULE,
    backend_auth.RULE,
    backend_throttled.RULE,
    provider_inconsistent.RULE,
    provider_crash.RULE,
    api_rate_limit.RULE,
    api_flow_publish.RULE,
    api_version_conflict.RULE,
    api_auth.RULE,
    api_permission.RULE,
    api_exists.RULE,
    api_dependency.RULE,
    api_gone.RULE,
    api_server_error.RULE,
    network.RULE,
    timeout.RULE,
    cancelled.RULE,
    config_error.RULE,
)
"""In the order of trial."""
