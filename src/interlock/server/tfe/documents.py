"""What the TFE API answers, as JSON:API documents. Pure.

Source: docs/facts/servers.md; hashicorp/go-tfe, whose OpenAPI document a test holds these against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from interlock.bounded import read_json
from interlock.errors import InterlockError, fill_in, fill_in_program
from interlock.foreign_text import one_line
from interlock.server.tfe.names import OutputId, VersionId, WorkspaceId, organization_of, workspace_of
from interlock.state.outputs import StoredOutput

MEDIA_TYPE: Final = "application/vnd.api+json"
PAGE_SIZE, PAGE_SIZE_MAX = 20, 100
_SECRETS_HIDDEN: Final = None
_TYPES: Final[Mapping[str, str]] = {"list": "array", "tuple": "array", "set": "array", "map": "map", "object": "map"}


class Seen(Struct, frozen=True, kw_only=True):
    """A workspace, as somebody sees it.

    Attributes:
        id: Under which it is told; see `names`.
        tags: Keys and values; a value may be empty.
        made_at: When it was made.
        holder: Who holds it; empty when it is free.
        operation: What the holder does.
        since: When it was locked.
        number: Of its current version; 0 when there is none.
        resources: How many objects that has; None where that is not told.
        may_write: Whether who asks may change it.
        may_lock: Whether who asks may lock it.
        may_force: Whether who asks may break its lock.
    """

    id: WorkspaceId
    tags: Mapping[str, str]
    made_at: datetime | None
    holder: str = ""
    operation: str = ""
    since: datetime | None = None
    number: int = 0
    resources: int | None = None
    may_write: bool = False
    may_lock: bool = False
    may_force: bool = False


class Stored(Struct, frozen=True, kw_only=True):
    """A state version.

    Attributes:
        id: Under which it is told.
        serial: Terraform's serial.
        size_bytes: Its size.
        written_at: When it was written, or its upload began.
        is_stored: Its bytes are here; else they are awaited.
        download_url: Where its bytes are; empty while they are awaited.
        upload_url: Where its bytes are to be sent; told once.
        json_upload_url: Where Terraform sends the same in another form, which is not kept.
    """

    id: VersionId
    serial: int
    size_bytes: int
    written_at: datetime
    is_stored: bool = True
    download_url: str = ""
    upload_url: str = ""
    json_upload_url: str = ""


def workspace_document(seen: Seen) -> dict[str, Any]:
    """Return a workspace. The execution is local, and any version of Terraform is welcome."""
    state = seen.id.state
    attributes: dict[str, Any] = {
        "name": workspace_of(state),
        "created-at": _spelled(seen.made_at),
        "updated-at": _spelled(seen.made_at),
        "description": None,
        "execution-mode": "local",
        "operations": False,
        "auto-apply": False,
        "allow-destroy-plan": True,
        "locked": bool(seen.holder),
        "locked-reason": seen.operation if seen.holder else "",
        "terraform-version": "latest",  # with an exact one, any other Terraform would refuse to work
        "working-directory": None,
        "vcs-repo": None,
        "tag-names": sorted(seen.tags),
        "permissions": _permissions(seen),
        "actions": {"is-destroyable": seen.may_write},
    }
    if seen.resources is not None:
        attributes["resource-count"] = seen.resources
    version = _reference("state-versions", VersionId(state=state, number=seen.number)) if seen.number else None
    return _resource(
        "workspaces",
        str(seen.id),
        attributes,
        {
            "organization": {"data": _reference("organizations", organization_of(state))},
            "current-state-version": {"data": version},
            "locked-by": {"data": _reference("users", one_line(seen.holder, limit=200)) if seen.holder else None},
        },
    )


def version_document(stored: Stored) -> dict[str, Any]:
    """Return a state version."""
    attributes = {
        "serial": stored.serial,
        "created-at": _spelled(stored.written_at),
        "size": stored.size_bytes,
        "status": "finalized" if stored.is_stored else "pending",
        "state-version": 4,
        "resources-processed": stored.is_stored,
        "hosted-state-download-url": stored.download_url or None,
        "hosted-json-state-download-url": None,
        "hosted-state-upload-url": stored.upload_url or None,
        "hosted-json-state-upload-url": stored.json_upload_url or None,
    }
    workspace = WorkspaceId(state=stored.id.state)
    return _resource(
        "state-versions",
        str(stored.id),
        attributes,
        {
            "workspace": {"data": _reference("workspaces", workspace)},
            "outputs": {"links": {"related": f"/api/v2/state-versions/{stored.id}/outputs"}},
        },
    )


def output_document(output: OutputId, stored: StoredOutput, *, whole: bool) -> dict[str, Any]:
    """Return an output; the value of a sensitive one only when it is asked for by itself (`whole`)."""
    kind = read_json(bytes(stored.type))
    attributes = {
        "name": output.name,
        "sensitive": stored.sensitive,
        "type": _TYPES.get(str(kind[0]), "map") if isinstance(kind, list) and kind else _simple(kind),
        "value": stored.plain if whole or not stored.sensitive else _SECRETS_HIDDEN,
        "detailed-type": kind,
    }
    return _resource("state-version-outputs", str(output), attributes, {})


def tag_documents(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the tags of a workspace."""
    return [_resource("tag-bindings", key, {"key": key, "value": tags[key]}, {}) for key in sorted(tags)]


def entitlements_document(organization: str) -> dict[str, Any]:
    """Return what an organisation may do. Without `operations` every run is local, whatever a workspace says."""
    attributes = {
        "operations": False,
        "state-storage": True,
        "private-module-registry": False,
        "sentinel": False,
        "teams": False,
        "vcs-integrations": False,
        "cost-estimation": False,
        "agents": False,
    }
    return _resource("entitlement-sets", organization, attributes, {})


def organization_document(organization: str) -> dict[str, Any]:
    """Return an organisation: the first part of the names of states."""
    return _resource("organizations", organization, {"name": organization, "external-id": organization}, {})


def account_document(key: str, who: str) -> dict[str, Any]:
    """Return who somebody is, by the token."""
    return _resource("users", f"user-{key}", {"username": one_line(who, limit=200), "is-service-account": False}, {})


def page_document(rows: Sequence[dict[str, Any]], *, number: int, size: int) -> dict[str, Any]:
    """Return a page of a list.

    Args:
        rows: The whole list.
        number: Of the page, from 1.
        size: Rows of a page.
    """
    pages = max(1, -(-len(rows) // size))
    pagination = {
        "current-page": number,
        "page-size": size,
        "prev-page": number - 1 if number > 1 else None,
        "next-page": number + 1 if number < pages else None,
        "total-pages": pages,
        "total-count": len(rows),
    }
    return {"data": list(rows[(number - 1) * size : number * size]), "meta": {"pagination": pagination}}


def errors_document(error: InterlockError, status: int) -> dict[str, Any]:
    """Return a refusal: clients print title and detail as they are."""
    fix = fill_in_program(fill_in(error.fix, "."))
    detail = "\n".join(part for part in (error.why, f"next: {fix}" if fix else "") if part)
    told = {"status": str(status), "code": error.code, "title": one_line(error.what)}
    return {"errors": [{**told, "detail": "\n".join(map(one_line, detail.split("\n")))}]}


def _permissions(seen: Seen) -> dict[str, bool]:
    return {
        "can-lock": seen.may_lock,
        "can-unlock": seen.may_lock,
        "can-force-unlock": seen.may_force,
        "can-force-delete": seen.may_write,
        "can-update": seen.may_write,
        "can-destroy": seen.may_write,
        "can-create-state-versions": seen.may_write,
        "can-read-settings": True,
        "can-queue-run": False,
        "can-queue-apply": False,
        "can-queue-destroy": False,
        "can-read-variable": False,
        "can-update-variable": False,
    }


def _simple(kind: object) -> str:
    return {"bool": "boolean", "string": "string", "number": "number"}.get(str(kind), "string")


def _resource(
    kind: str, identity: str, attributes: Mapping[str, Any], relationships: Mapping[str, Any]
) -> dict[str, Any]:
    row: dict[str, Any] = {"id": identity, "type": kind, "attributes": dict(attributes)}
    return {**row, "relationships": dict(relationships)} if relationships else row


def _reference(kind: str, identity: object) -> dict[str, str]:
    return {"id": str(identity), "type": kind}


def _spelled(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
