"""The table of the TFE API: what is answered, the right that it needs, and what is refused. Pure.

Routes, the check of rights, the matrix test and the reference page come from it.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from interlock.rights import Right
from interlock.state import MAX_STATE_BYTES

BASE: Final = "/api/v2"
BODY_BYTES_MAX: Final = 1024 * 1024
"""Of a body without a state."""
INLINE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of a body with a state inside: only small and refused ones come so."""


class Row(Struct, frozen=True, kw_only=True):
    """One address.

    Attributes:
        method: The HTTP method.
        path: Below `BASE`. `{workspace}` is the id of a workspace, `{version}` of a state version, `{output}` of an
            output, each of which says which state is meant; `{organization}` and `{name}` together do too.
        right: What who asks must have on that state. None: any good token; then what is asked is looked at by itself.
        does: One line for people.
        answer: Name of the method that answers it.
        body_bytes: Largest body.
        is_open: Needs no token.
    """

    method: str
    path: str
    right: Right | None
    does: str
    answer: str
    body_bytes: int = BODY_BYTES_MAX
    is_open: bool = False


def _row(method: str, path: str, right: Right | None, answer: str, does: str) -> Row:
    return Row(method=method, path=path, right=right, does=does, answer=answer)


_NAMED, _ID = "/organizations/{organization}/workspaces/{name}", "/workspaces/{workspace}"

ROWS: Final[tuple[Row, ...]] = (
    Row(method="GET", path="/ping", right=None, does="tells which API this is", answer="ping", is_open=True),
    _row("GET", "/account/details", None, "account", "tells who the token is"),
    _row("GET", "/organizations/{organization}", None, "organization", "tells that the organisation may be named"),
    _row("GET", "/organizations/{organization}/entitlement-set", None, "entitlements", "tells that runs are local"),
    _row(
        "GET",
        "/organizations/{organization}/workspaces",
        None,
        "list_workspaces",
        "lists workspaces by name and tags; those that the token may not read are left out",
    ),
    _row("POST", "/organizations/{organization}/workspaces", None, "make_workspace", "makes one; needs apply"),
    _row("GET", _NAMED, Right.READ_OUTPUTS, "open_workspace", "reads one, under an id with a session of its own"),
    _row("PATCH", _NAMED, Right.APPLY, "change_workspace", "replaces its tags"),
    _row("DELETE", _NAMED, Right.APPLY, "delete_workspace", "deletes one whose state is empty"),
    _row("POST", f"{_NAMED}/actions/safe-delete", Right.APPLY, "delete_workspace", "the same"),
    _row("GET", _ID, Right.READ_OUTPUTS, "read_workspace", "reads one"),
    _row("PATCH", _ID, Right.APPLY, "change_workspace", "replaces its tags"),
    _row("DELETE", _ID, Right.APPLY, "delete_workspace", "deletes one whose state is empty"),
    _row("POST", f"{_ID}/actions/safe-delete", Right.APPLY, "delete_workspace", "the same"),
    _row("GET", f"{_ID}/tag-bindings", Right.READ_OUTPUTS, "read_tags", "lists its tags"),
    _row("GET", f"{_ID}/effective-tag-bindings", Right.READ_OUTPUTS, "read_tags", "the same"),
    _row("PATCH", f"{_ID}/tag-bindings", Right.APPLY, "add_tags", "adds tags"),
    _row("POST", f"{_ID}/relationships/tags", Right.APPLY, "add_tags", "adds tags"),
    _row("DELETE", f"{_ID}/relationships/tags", Right.APPLY, "remove_tags", "takes tags away"),
    _row("POST", f"{_ID}/actions/lock", Right.PLAN, "lock", "joins the queue; the request is held until it is granted"),
    _row("POST", f"{_ID}/actions/unlock", Right.PLAN, "unlock", "gives the lock back"),
    _row(
        "POST", f"{_ID}/actions/force-unlock", Right.FORCE_UNLOCK, "force_unlock", "breaks the lock of one proved gone"
    ),
    _row("GET", f"{_ID}/current-state-version", Right.READ_STATE, "current_version", "reads the current version"),
    _row("GET", f"{_ID}/current-state-version-outputs", Right.READ_OUTPUTS, "current_outputs", "lists its outputs"),
    Row(
        method="POST",
        path=f"{_ID}/state-versions",
        right=Right.APPLY,
        does="announces a version, or brings it",
        answer="make_version",
        body_bytes=INLINE_BYTES_MAX,
    ),
    _row("GET", "/state-versions", None, "list_versions", "lists the versions of one workspace; needs read-state"),
    _row("GET", "/state-versions/{version}", Right.READ_STATE, "read_version", "reads a version"),
    _row("GET", "/state-versions/{version}/download", Right.READ_STATE, "download", "gives its bytes"),
    _row("GET", "/state-versions/{version}/outputs", Right.READ_OUTPUTS, "version_outputs", "lists its outputs"),
    _row(
        "GET",
        "/state-version-outputs/{output}",
        Right.READ_OUTPUTS,
        "read_output",
        "reads an output, secret or not",
    ),
    Row(
        method="PUT",
        path="/state-versions/{version}/upload/{secret}",
        right=None,
        does="takes the bytes of an announced version; the address is good once",
        answer="upload",
        body_bytes=MAX_STATE_BYTES,
        is_open=True,
    ),
    Row(
        method="PUT",
        path="/state-versions/{version}/upload/{secret}/json",
        right=None,
        does="takes the same in another form, and does not keep it",
        answer="upload_json",
        body_bytes=2 * MAX_STATE_BYTES,
        is_open=True,
    ),
)

REFUSED: Final[tuple[tuple[str, str, str], ...]] = (
    ("runs", "runs are not served here", "Terraform runs where it is started, and this server keeps state and lock"),
    ("plans", "runs are not served here", "Terraform runs where it is started, and this server keeps state and lock"),
    ("applies", "runs are not served here", "Terraform runs where it is started, and this server keeps state and lock"),
    (
        "configuration-versions",
        "configurations are not taken here",
        "Terraform runs where it is started, and this server keeps state and lock",
    ),
    ("vars", "variables are not kept here", "give them to Terraform: TF_VAR_name, or a .tfvars file"),
    ("all-vars", "variables are not kept here", "give them to Terraform: TF_VAR_name, or a .tfvars file"),
    ("varsets", "variables are not kept here", "give them to Terraform: TF_VAR_name, or a .tfvars file"),
    ("projects", "projects are not kept here", "a workspace is the state ORGANIZATION/WORKSPACE"),
    ("registry-modules", "a registry is not served here", "name the registry in the module's source"),
    ("registry-providers", "a registry is not served here", "name the registry in required_providers"),
    ("teams", "teams are not kept here", "rights are those of tokens, which have a role for some states"),
    ("policies", "policies are not kept here", "they belong to states, not to organisations"),
    ("policy-sets", "policies are not kept here", "they belong to states, not to organisations"),
)
"""Words of an address, what is refused, and why: what a client would else take for a fault of its own."""
