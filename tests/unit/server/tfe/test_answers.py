"""Workspaces through the TFE API, and who may do what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.cloud_api import MASTER, STATE, Cloud, CloudServer, error, state, terraform

from interlock.rights import Right, Role, may
from interlock.rights.token import Forbidden
from interlock.server.tfe.table import BASE, BODY_BYTES_MAX, ROWS, Row


@pytest.fixture
def server(tmp_path: Path) -> CloudServer:
    return CloudServer(tmp_path)


async def _list(server: CloudServer, query: str = "", token: str = MASTER) -> list[str]:
    told = await server.ask("GET", f"organizations/acme/workspaces?{query}", token=token)
    assert told.status == 200
    return [row["attributes"]["name"] for row in told.json()["data"]]


async def test_a_workspace_is_made_read_and_deleted(server: CloudServer) -> None:
    mine = Cloud(server)
    assert (await mine.ask("GET", "organizations/acme/workspaces/app")).status == 404
    made = await mine.init()
    assert made.status == 201
    attributes = made.json()["data"]["attributes"]
    assert (attributes["execution-mode"], attributes["operations"], attributes["terraform-version"]) == (
        "local",
        False,
        "latest",
    )
    twice = await mine.ask(
        "POST", "organizations/acme/workspaces", sends={"data": {"attributes": {"name": "app"}, "type": "workspaces"}}
    )
    assert twice.status == 422
    assert (await mine.ask("POST", f"workspaces/{mine.id}/actions/safe-delete")).status == 204
    assert (await mine.ask("GET", "organizations/acme/workspaces/app")).status == 404
    kinds = [entry.action for entry in await server.home.audit.entries()]
    assert kinds == ["workspace-created", "workspace-deleted"]


async def test_each_client_that_reads_a_workspace_by_name_has_an_id_of_its_own(server: CloudServer) -> None:
    first, second = await terraform(server), await terraform(server)
    assert first.id != second.id
    for made in (first, second):
        read = await made.ask("GET", f"workspaces/{made.id}")
        assert read.json()["data"]["id"] == made.id
    [listed] = (await first.ask("GET", "organizations/acme/workspaces")).json()["data"]
    assert listed["id"] == "ws-acme~app"


@pytest.mark.promise("P3")
async def test_a_workspace_is_deleted_only_when_its_state_is_empty_and_nobody_holds_it(server: CloudServer) -> None:
    mine = await terraform(server)
    await mine.lock()
    await mine.write(state(1, "a"))
    held = await mine.ask("POST", f"workspaces/{mine.id}/actions/safe-delete")
    assert held.status == 423
    await mine.unlock()
    for method, path in (
        ("DELETE", "organizations/acme/workspaces/app"),
        ("DELETE", f"workspaces/{mine.id}"),
        ("POST", f"workspaces/{mine.id}/actions/safe-delete"),
    ):
        refused = await mine.ask(method, path)
        assert (refused.status, error(refused)["detail"].split("\n")[0]) == (409, "its state has 1 object")
    assert await mine.read() == state(1, "a")
    await mine.lock()
    await mine.write(state(2))
    await mine.unlock()
    assert (await mine.ask("DELETE", "organizations/acme/workspaces/app")).status == 204
    assert (await mine.init()).status == 201
    assert await mine.read() is None
    assert len(await server.home.archive.history(STATE)) == 3, "its versions are kept"


async def test_a_state_that_was_stored_by_another_way_is_a_workspace(server: CloudServer) -> None:
    lock = b'{"ID": "x", "Operation": "OperationTypeApply"}'
    for name in ("acme/app", "acme/deep/er", "plain"):
        assert (await server.ask("LOCK", f"/state/{name}?wait=0", body=lock)).status == 200
        assert (await server.ask("POST", f"/state/{name}?ID=x", body=state(1, "a"))).status == 200
        assert (await server.ask("UNLOCK", f"/state/{name}", body=lock)).status == 200
    assert await _list(server) == ["app"]
    mine = await terraform(server)
    assert await mine.read() == state(1, "a")
    tagged = await mine.ask("POST", f"workspaces/{mine.id}/relationships/tags", sends=_tags("name", "x"))
    assert tagged.status == 200
    assert await _list(server, "search%5Btags%5D=x") == ["app"]


def _tags(word: str, *names: str, kind: str = "tags") -> dict[str, Any]:
    return {"data": [{"type": kind, "attributes": {word: name}} for name in names]}


async def test_workspaces_are_found_by_tags_and_names(server: CloudServer) -> None:
    for name, tags in (("web-eu", ["web", "eu"]), ("web-us", ["web", "us"]), ("db", ["us"])):
        made = Cloud(server, state=f"acme/{name}")
        await made.init()
        assert (
            await made.ask("POST", f"workspaces/{made.id}/relationships/tags", sends=_tags("name", *tags))
        ).status == 200
    pair = {"data": [{"type": "tag-bindings", "attributes": {"key": "tier", "value": "1"}}]}
    assert (await made.ask("PATCH", f"workspaces/{made.id}/tag-bindings", sends=pair)).status == 200
    found = await made.ask("GET", f"workspaces/{made.id}/tag-bindings")
    assert [(row["attributes"]["key"], row["attributes"]["value"]) for row in found.json()["data"]] == [
        ("tier", "1"),
        ("us", ""),
    ]
    assert await _list(server, "search%5Btags%5D=web") == ["web-eu", "web-us"]
    assert await _list(server, "search%5Btags%5D=web,us") == ["web-us"]
    assert await _list(server, "search%5Bexclude-tags%5D=eu") == ["db", "web-us"]
    tagged = "filter%5Btagged%5D%5B0%5D%5Bkey%5D=tier&filter%5Btagged%5D%5B0%5D%5Bvalue%5D="
    assert await _list(server, f"{tagged}1") == ["db"]
    assert await _list(server, f"{tagged}2") == []
    assert await _list(server, "search%5Bname%5D=web-") == ["web-eu", "web-us"]
    for pattern, expected in (
        ("*-u*", ["web-us"]),
        ("web-*", ["web-eu", "web-us"]),
        ("db", ["db"]),
        ("*b*e*", ["web-eu"]),
    ):
        assert await _list(server, f"search%5Bwildcard-name%5D={pattern}") == expected
    assert (
        await made.ask("DELETE", f"workspaces/{made.id}/relationships/tags", sends=_tags("name", "us"))
    ).status == 204
    assert await _list(server, "search%5Btags%5D=us") == ["web-us"]


async def test_lists_come_in_pages(server: CloudServer) -> None:
    for number in range(5):
        await Cloud(server, state=f"acme/w{number}").init()
    told = await server.ask("GET", "organizations/acme/workspaces?page%5Bsize%5D=2&page%5Bnumber%5D=2")
    assert [row["attributes"]["name"] for row in told.json()["data"]] == ["w2", "w3"]
    assert told.json()["meta"]["pagination"] == {
        "current-page": 2,
        "page-size": 2,
        "prev-page": 1,
        "next-page": 3,
        "total-pages": 3,
        "total-count": 5,
    }
    for odd in ("page%5Bsize%5D=x", "page%5Bnumber%5D=0", "page%5Bsize%5D=-1"):
        assert (await server.ask("GET", f"organizations/acme/workspaces?{odd}")).status == 400


async def test_what_would_be_left_undone_in_silence_is_refused(server: CloudServer) -> None:
    mine = await terraform(server)
    path = f"workspaces/{mine.id}"
    version = {"data": {"type": "workspaces", "attributes": {"terraform-version": "1.11.4"}}}
    assert (await mine.ask("PATCH", path, sends=version)).status == 200, "each Terraform asks for its own"
    for name, value in (
        ("execution-mode", "remote"),
        ("operations", True),
        ("name", "other"),
        ("working-directory", "x"),
    ):
        refused = await mine.ask("PATCH", path, sends={"data": {"type": "workspaces", "attributes": {name: value}}})
        assert refused.status == 422, name
        assert error(refused)["title"]
    project = {
        "data": {
            "type": "workspaces",
            "attributes": {"name": "new"},
            "relationships": {"project": {"data": {"type": "projects", "id": "prj-1"}}},
        }
    }
    refused = await mine.ask("POST", "organizations/acme/workspaces", sends=project)
    assert (refused.status, error(refused)["title"]) == (422, "projects are not kept here")
    for method, address, word in (
        ("POST", "runs", "runs are not served here"),
        ("POST", f"{path}/configuration-versions", "configurations are not taken here"),
        ("GET", f"{path}/vars", "variables are not kept here"),
        ("GET", "organizations/acme/projects", "projects are not kept here"),
        ("GET", "organizations/acme/registry-modules", "a registry is not served here"),
    ):
        refused = await mine.ask(method, address)
        assert (refused.status, error(refused)["title"]) == (422, word)
    assert (await mine.ask("GET", "something/else")).status == 404
    refused = await mine.ask("PUT", path)
    assert (refused.status, refused.headers["allow"].split(", ")[0]) == (405, "GET")


async def test_what_is_too_large_is_refused(server: CloudServer) -> None:
    mine = await terraform(server)
    await mine.lock()
    large = b"{" + b" " * BODY_BYTES_MAX + b"}"
    refused = await mine.ask("PATCH", f"workspaces/{mine.id}", body=large)
    assert (refused.status, error(refused)["detail"]) == (413, f"the limit is {BODY_BYTES_MAX} bytes")
    deep = b'{"data":' * 100_000
    assert (await mine.ask("PATCH", f"workspaces/{mine.id}", body=deep)).status == 400


# -- rights -----------------------------------------------------------------------------------------------------------

OWN, FOREIGN = "acme/app", "other/app"
_NEEDS_ITSELF = {"make_workspace": Right.APPLY, "list_versions": Right.READ_STATE}
_OF_NOBODY = {"ping", "account", "organization", "entitlements", "list_workspaces"}


def _address(row: Row, state: str) -> str:
    organization, name = state.split("/")
    filled = row.path.format(
        organization=organization,
        name=name,
        workspace=f"ws-{organization}~{name}~0123456789abcdef",
        version=f"sv-{organization}~{name}~v1",
        output=f"wsout-{organization}~{name}~v1~bw",
        secret="x" * 43,
    )
    if row.answer == "list_versions":
        filled += f"?filter%5Borganization%5D%5Bname%5D={organization}&filter%5Bworkspace%5D%5Bname%5D={name}"
    return BASE + filled


def _body(row: Row) -> bytes:
    return (
        b'{"data": {"type": "workspaces", "attributes": {"name": "app"}}}' if row.answer == "make_workspace" else b"{}"
    )


@pytest.mark.promise("P10")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.path}")
async def test_each_role_may_do_on_its_own_states_what_it_may_and_nothing_on_those_of_others(
    server: CloudServer, row: Row
) -> None:
    for there in (OWN, FOREIGN):
        await server.home.coordinator.view(there)
        assert (await Cloud(server, state=there).init()).status == 201
    needed = row.right or _NEEDS_ITSELF.get(row.answer)
    for there in (OWN, FOREIGN):
        nobody = await server.ask(row.method, _address(row, there), token=None, body=_body(row))
        assert row.is_open or nobody.status == 401
        for role in Role:
            token = await server.token(role, states="acme/*")
            told = await server.ask(row.method, _address(row, there), token=token, body=_body(row))
            if row.is_open or row.answer in _OF_NOBODY:
                assert told.status not in (401, 403)
                continue
            assert needed is not None
            assert (told.status == Forbidden.http_status) is not may(role, "acme/*", needed, there), (role, there)
            if row.answer in {"lock", "delete_workspace"}:
                await server.ask(
                    "POST", f"{BASE}/workspaces/{_address(row, OWN).split('/')[4]}/actions/unlock", token=token
                )
                await Cloud(server).init()


async def test_a_list_leaves_out_what_may_not_be_read(server: CloudServer) -> None:
    for name in ("one", "two"):
        await Cloud(server, state=f"acme/{name}").init()
    assert await _list(server, token=await server.token(Role.READER, states="acme/one")) == ["one"]


async def test_the_right_to_outputs_alone_is_enough_for_outputs(tmp_path: Path) -> None:
    class OnlyOutputs:
        who, key = "outputs", "outputs"

        def check(self, right: Right, state: str) -> None:
            if right is not Right.READ_OUTPUTS:
                raise Forbidden(f"may not {right.value} {state}")

    server = CloudServer(tmp_path)
    writer = await terraform(server)
    await writer.lock()
    await writer.write(state(1, "a", outputs={"o": {"value": "x", "type": "string"}}))

    class Tokens:
        async def identify(self, username: str, password: str) -> OnlyOutputs:  # noqa: ARG002 - whoever asks
            return OnlyOutputs()

    reader = CloudServer(tmp_path, tokens=Tokens(), home=server.home)
    mine = await terraform(reader, "any")
    told = await mine.ask("GET", f"workspaces/{mine.id}/current-state-version-outputs")
    assert [row["attributes"]["value"] for row in told.json()["data"]] == ["x"]
    assert (await mine.ask("GET", f"state-version-outputs/{told.json()['data'][0]['id']}")).status == 200
    assert (await mine.ask("GET", f"workspaces/{mine.id}/current-state-version")).status == 403
    assert (await mine.lock()).status == 403
