"""What each address of the TFE API answers. A hand: each method belongs to a row of `table.ROWS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from interlock.amounts import amount
from interlock.audit.announcing import announcing
from interlock.audit.log import AuditLog
from interlock.coordinator import Coordinator, View
from interlock.coordinator.archive import StateArchive, Writer
from interlock.errors import InterlockError, command
from interlock.lock import Requested
from interlock.rights import Right
from interlock.rights.callers import may_do
from interlock.server.tfe.asked import Asked, Told
from interlock.server.tfe.bodies import page_asked, read_changes, read_new_workspace, read_tags, tags_asked
from interlock.server.tfe.documents import (
    PAGE_SIZE,
    PAGE_SIZE_MAX,
    Seen,
    account_document,
    entitlements_document,
    organization_document,
    output_document,
    page_document,
    tag_documents,
    version_document,
    workspace_document,
)
from interlock.server.tfe.locking import WorkspaceLocks
from interlock.server.tfe.names import (
    SESSION_CHARS,
    NotFound,
    OutputId,
    VersionId,
    WorkspaceId,
    is_workspace,
    parse_output_id,
    parse_version_id,
    state_of,
    workspace_of,
)
from interlock.server.tfe.telling import respond
from interlock.server.tfe.versions import Versions
from interlock.server.tfe.workspaces import Workspace, WorkspaceBook, taken
from interlock.state.outputs import StoredOutput

_DELETE_LEASE_S = 60.0  # of the lock under which a workspace is deleted: two swaps
_NOT_EMPTY = 409
_TERRAFORM = "terraform-version"  # a header that Terraform and OpenTofu send, and libraries for this API do not


class NotEmpty(InterlockError):
    """A workspace whose state has objects is not deleted."""

    code = "not-empty"
    http_status = _NOT_EMPTY


class Answers:
    """The answers.

    Args:
        coordinator: Keeps locks and heads.
        archive: Keeps states.
        book: Keeps workspaces.
        versions: Takes and gives state versions.
        locks: Locks and unlocks.
        audit: Where it is written down who makes and deletes workspaces.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        archive: StateArchive,
        *,
        book: WorkspaceBook,
        versions: Versions,
        locks: WorkspaceLocks,
        audit: AuditLog,
    ) -> None:
        self._coordinator = coordinator
        self._archive = archive
        self._book = book
        self._versions = versions
        self._locks = locks
        self._audit = audit

    # -- who and what -----------------------------------------------------------------------------------------------

    async def ping(self, _asked: Asked) -> Told:
        """Answer that this is here; the headers of every answer tell the rest."""
        return Told(status=204)

    async def account(self, asked: Asked) -> Told:
        """Tell who the token is."""
        return _data(account_document(asked.caller.key, asked.caller.who))

    async def organization(self, asked: Asked) -> Told:
        """Tell that an organisation may be named: it is only the first part of names."""
        return _data(organization_document(_organization(asked)))

    async def entitlements(self, asked: Asked) -> Told:
        """Tell what an organisation may do."""
        return _data(entitlements_document(_organization(asked)))

    # -- workspaces -------------------------------------------------------------------------------------------------

    async def list_workspaces(self, asked: Asked) -> Told:
        """List the workspaces of an organisation that are asked for and may be read."""
        organization = _organization(asked)
        number, size = page_asked(asked.query, size=PAGE_SIZE, size_max=PAGE_SIZE_MAX)
        kept = await self._book.of(organization)
        views = {view.state: view for view in await self._coordinator.states(f"{organization}/")}
        there = {state for state, view in views.items() if _has_state(view) and is_workspace(state)} | set(kept)
        rows = [
            self._seen(asked, WorkspaceId(state=state), kept.get(state), views.get(state))
            for state in sorted(there)
            if may_do(asked.caller, Right.READ_OUTPUTS, state)
        ]
        shown = [workspace_document(row) for row in rows if _is_asked_for(row, asked.query)]
        return Told(document=page_document(shown, number=number, size=size))

    async def make_workspace(self, asked: Asked) -> Told:
        """Make a workspace."""
        name, tags = read_new_workspace(await asked.body())
        state = state_of(_organization(asked), name)
        asked.caller.check(Right.APPLY, state)
        view = await self._coordinator.view(state)
        if _has_state(view):
            raise taken(state)
        who = asked.caller.who
        async with announcing(self._audit, by=who) as announce:

            async def before(_made: Workspace, _version: int) -> None:
                await announce("workspace-created", subject=state, facts={})

            made = await self._book.make(state, tags, by=who, before=before)
        opened = self._opened(asked, state)
        return _data(workspace_document(self._seen(asked, opened, made, view)), status=201)

    async def open_workspace(self, asked: Asked) -> Told:
        """Read a workspace by its name, under an id with a session of its own."""
        return await self._read(asked, self._opened(asked, asked.state))

    async def read_workspace(self, asked: Asked) -> Told:
        """Read a workspace by its id."""
        return await self._read(asked, WorkspaceId(state=asked.state, session=asked.session))

    async def change_workspace(self, asked: Asked) -> Told:
        """Replace the tags of a workspace, if they are sent; each Terraform also asks for its own version here."""
        await self._there(asked.state)
        tags = read_changes(await asked.body(), name=workspace_of(asked.state))
        if tags is not None:
            await self._book.tag(asked.state, tags, by=asked.caller.who, without=None)
        return await self._read(asked, WorkspaceId(state=asked.state, session=asked.session))

    async def delete_workspace(self, asked: Asked) -> Told:
        """Delete a workspace whose state is empty, under its lock. The versions of the state are kept."""
        await self._there(asked.state)
        ticket = self._coordinator.new_ticket()
        who = asked.caller.who
        wish = Requested(
            ticket=ticket, who=who, info="delete workspace", lease_s=_DELETE_LEASE_S, patience_s=1.0, queue=False
        )
        grant = await self._coordinator.acquire(asked.state, wish, timeout_s=0.0)
        try:
            await self._check_empty(asked.state)
            await self._audit.append("workspace-deleted", subject=asked.state, by=who, facts={})
            await self._archive.delete(asked.state, writer=Writer(who=who, ticket=ticket, token=grant.token))
            await self._book.remove(asked.state)
        finally:
            await self._coordinator.release(asked.state, ticket=ticket, token=grant.token)
        return Told(status=204)

    async def read_tags(self, asked: Asked) -> Told:
        """List the tags of a workspace."""
        kept, _ = await self._there(asked.state)
        return Told(document=page_document(tag_documents(kept.tags if kept else {}), number=1, size=PAGE_SIZE_MAX))

    async def add_tags(self, asked: Asked) -> Told:
        """Add tags to a workspace."""
        await self._there(asked.state)
        tags = read_tags(await asked.body())
        kept = await self._book.tag(asked.state, tags, by=asked.caller.who, without=frozenset())
        return Told(document=page_document(tag_documents(kept.tags), number=1, size=PAGE_SIZE_MAX))

    async def remove_tags(self, asked: Asked) -> Told:
        """Take tags away from a workspace."""
        await self._there(asked.state)
        await self._book.tag(asked.state, {}, by=asked.caller.who, without=frozenset(read_tags(await asked.body())))
        return Told(status=204)

    # -- locks ------------------------------------------------------------------------------------------------------

    async def lock(self, asked: Asked) -> Response:
        """Lock a workspace when its turn comes."""
        kept, _ = await self._there(asked.state)

        async def granted() -> Response:
            return respond(_data(workspace_document(await self._look(asked, kept))))

        return await self._locks.lock(asked, granted)

    async def unlock(self, asked: Asked) -> Told:
        """Unlock a workspace."""
        kept, _ = await self._there(asked.state)
        await self._locks.unlock(asked)
        return _data(workspace_document(await self._look(asked, kept)))

    async def force_unlock(self, asked: Asked) -> Told:
        """Break the lock of one that is gone."""
        kept, _ = await self._there(asked.state)
        await self._locks.force_unlock(asked)
        return _data(workspace_document(await self._look(asked, kept)))

    # -- versions ---------------------------------------------------------------------------------------------------

    async def make_version(self, asked: Asked) -> Told:
        """Take an announcement, or the whole."""
        await self._there(asked.state)
        return _data(version_document(await self._versions.make(asked)), status=201)

    async def upload(self, asked: Asked) -> Told:
        """Take the bytes that were announced."""
        await self._versions.upload(asked)
        return Told()

    async def upload_json(self, asked: Asked) -> Told:
        """Take the other form that Terraform sends, and keep nothing of it."""
        await self._versions.admit(asked)
        await asked.drain()
        return Told()

    async def current_version(self, asked: Asked) -> Told:
        """Read the current version."""
        return _data(version_document(await self._versions.current(asked)))

    async def read_version(self, asked: Asked) -> Told:
        """Read a version."""
        return _data(version_document(await self._versions.read(asked)))

    async def list_versions(self, asked: Asked) -> Told:
        """List the versions of a workspace that the query names, newest first."""
        number, size = page_asked(asked.query, size=PAGE_SIZE, size_max=PAGE_SIZE_MAX)
        organization = asked.query.get("filter[organization][name]", "")
        state = state_of(organization, asked.query.get("filter[workspace][name]", ""))
        asked.caller.check(Right.READ_STATE, state)
        found = await self._versions.all(_about(asked, state))
        return Told(document=page_document([version_document(each) for each in found], number=number, size=size))

    async def download(self, asked: Asked) -> Told:
        """Give the bytes of a version."""
        return Told(raw=await self._versions.bytes_of(parse_version_id(asked.named["version"])))

    async def current_outputs(self, asked: Asked) -> Told:
        """List the outputs of the current version, without the values of secret ones."""
        return _outputs(await self._versions.current_outputs(asked.state))

    async def version_outputs(self, asked: Asked) -> Told:
        """List the outputs of a version, without the values of secret ones."""
        return _outputs(await self._versions.outputs(parse_version_id(asked.named["version"])))

    async def read_output(self, asked: Asked) -> Told:
        """Read one output, whole."""
        wanted = parse_output_id(asked.named["output"])
        found = await self._versions.outputs(VersionId(state=wanted.state, number=wanted.number))
        if wanted not in found:
            raise NotFound("there is no such output")
        return _data(output_document(wanted, found[wanted], whole=True))

    # -- inside -----------------------------------------------------------------------------------------------------

    def _opened(self, asked: Asked, state: str) -> WorkspaceId:
        """Return the id under which a client works with a workspace; only a Terraform keeps it for its whole life."""
        is_terraform = _TERRAFORM in asked.request.headers
        return WorkspaceId(state=state, session=self._coordinator.new_ticket()[:SESSION_CHARS] if is_terraform else "")

    async def _there(self, state: str) -> tuple[Workspace | None, View]:
        """Return what is kept of a workspace, and its lock and head.

        Raises:
            NotFound: There is none.
        """
        kept, view = await self._book.find(state), await self._coordinator.view(state)
        if kept is None and not _has_state(view):
            raise NotFound(f"there is no workspace {state}", fix="terraform init, or tofu init,    makes it")
        return kept, view

    async def _read(self, asked: Asked, told: WorkspaceId) -> Told:
        kept, view = await self._there(told.state)
        seen = self._seen(asked, told, kept, view, resources=await self._resources(told.state, view))
        return _data(workspace_document(seen))

    async def _look(self, asked: Asked, kept: Workspace | None) -> Seen:
        view = await self._coordinator.view(asked.state)
        return self._seen(asked, WorkspaceId(state=asked.state, session=asked.session), kept, view)

    async def _resources(self, state: str, view: View) -> int:
        head = view.head
        found = await self._archive.version(state, number=head.number) if head is not None and head.digest else None
        return 0 if found is None else found.resources

    async def _check_empty(self, state: str) -> None:
        current = await self._archive.current(state)
        version = None if current is None else await self._archive.version(state, number=current[0].number)
        if version is not None and (version.resources or version.encrypted):
            raise NotEmpty(
                f"workspace {state} was not deleted",
                why="its state is encrypted"
                if version.encrypted
                else f"its state has {amount(version.resources, 'object', 'objects')}",
                fix=f"terraform destroy, tofu destroy, or {command('state', 'show', state)}    shows what it has",
            )

    def _seen(
        self,
        asked: Asked,
        told: WorkspaceId,
        kept: Workspace | None,
        view: View | None,
        *,
        resources: int | None = None,
    ) -> Seen:
        holder = view.lock.holders[0] if view is not None and view.lock.holders else None
        head = view.head if view is not None and _has_state(view) else None
        made_at = kept.made_at if kept is not None else head.written_at if head is not None else None
        return Seen(
            id=told,
            tags=kept.tags if kept is not None else {},
            made_at=made_at,
            holder=holder.who if holder is not None else "",
            operation=holder.info if holder is not None else "",
            number=head.number if head is not None else 0,
            resources=resources,
            may_write=may_do(asked.caller, Right.APPLY, told.state),
            may_lock=may_do(asked.caller, Right.PLAN, told.state),
            may_force=may_do(asked.caller, Right.FORCE_UNLOCK, told.state),
        )


def _has_state(view: View) -> bool:
    return view.head is not None and bool(view.head.digest)


def _organization(asked: Asked) -> str:
    """Return the organisation of an address.

    Raises:
        UsageError: No state's name can begin so.
    """
    organization = asked.named["organization"]
    state_of(organization, "any")
    return organization


def _about(asked: Asked, state: str) -> Asked:
    return replace(asked, state=state)


def _is_asked_for(seen: Seen, query: Mapping[str, str]) -> bool:
    name = workspace_of(seen.id.state)
    part, pattern = query.get("search[name]", ""), query.get("search[wildcard-name]", "")
    unwanted = {key for key in query.get("search[exclude-tags]", "").split(",") if key}
    has_tags = all(key in seen.tags and value in (None, seen.tags[key]) for key, value in tags_asked(query).items())
    return part in name and has_tags and not unwanted & set(seen.tags) and (not pattern or _fits(pattern, name))


def _fits(pattern: str, name: str) -> bool:
    """Say whether a name fits a pattern in which stars stand for anything; it takes no longer than both are long."""
    first, *parts = pattern.split("*")
    if not parts:
        return pattern == name
    last = parts.pop()
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in parts:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _data(document: dict[str, Any], *, status: int = 200) -> Told:
    return Told(document={"data": document}, status=status)


def _outputs(outputs: Mapping[OutputId, StoredOutput]) -> Told:
    rows = [output_document(each, stored, whole=False) for each, stored in outputs.items()]
    return Told(document=page_document(rows, number=1, size=max(1, len(rows))))
