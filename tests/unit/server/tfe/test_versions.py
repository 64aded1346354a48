"""State versions through the TFE API: what is stored, what is refused and kept, and what is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cloud_api import STATE, Cloud, CloudServer, error, state, terraform

from interlock.policy import Policy
from interlock.rights import Role
from interlock.server.tfe.uploads import UPLOAD_S, UPLOADS_KEPT
from interlock.server.tfe.versions import SNAPSHOT_S_MIN
from interlock.state.history import VersionKind


@pytest.fixture
def server(tmp_path: Path) -> CloudServer:
    return CloudServer(tmp_path)


async def _locked(server: CloudServer, token: str | None = None) -> Cloud:
    made = await terraform(server, *([token] if token else []))
    assert (await made.lock()).status == 200
    return made


@pytest.mark.promise("P3")
async def test_a_version_is_announced_brought_and_read_again(server: CloudServer) -> None:
    mine = await _locked(server, await server.token(note="ci"))
    assert await mine.read() is None
    stored = await mine.write(state(1, "a"))
    assert stored.json()["data"]["attributes"]["status"] == "finalized"
    assert (await mine.write(state(2, "a", "b"))).status == 200
    assert await mine.read() == state(2, "a", "b")
    newest, first = await server.home.archive.history(STATE)
    assert (newest.serial, newest.token, first.who.split()[0]) == (2, 1, "ci")


async def test_every_answer_asks_for_intermediate_states(server: CloudServer) -> None:
    mine = await _locked(server)
    none = await mine.ask("GET", f"workspaces/{mine.id}/current-state-version")
    stored = await mine.write(state(1))
    for told in (none, stored, await mine.ask("GET", f"workspaces/{mine.id}/current-state-version")):
        assert int(told.headers["x-terraform-snapshot-interval"]) > 0
        assert told.headers["content-type"] == "application/vnd.api+json"
        assert told.headers["tfp-api-version"] >= "2.5"
        assert told.headers["tfp-appname"] in {"HCP Terraform", "Terraform Enterprise"}


@pytest.mark.promise("P3")
async def test_a_write_that_is_repeated_is_stored_once(server: CloudServer) -> None:
    mine = await _locked(server)
    told = await mine.announce(state(1, "a"))
    for _ in range(2):
        assert (await mine.put(told, state(1, "a"))).status == 200
    again = await mine.write(state(1, "a"))
    assert again.status == 200
    assert len(await server.home.archive.history(STATE)) == 1


@pytest.mark.promise("P3", "P4")
async def test_an_address_for_bytes_is_good_once_for_a_while_and_for_the_bytes_that_were_announced(
    server: CloudServer,
) -> None:
    mine = await _locked(server)
    told = await mine.announce(state(1, "a"))
    assert (await mine.put(told, state(1, "b"))).status == 400, "the md5 is another"
    assert await mine.read() is None
    assert (await mine.put(told, state(1, "a"))).status == 200
    refused = await mine.put(told, state(2, "a"))
    assert (refused.status, error(refused)["detail"]) == (409, "the address was used before")
    url = told.json()["data"]["attributes"]["hosted-state-upload-url"].removeprefix("http://tfe.example:8650")
    late = await mine.announce(state(2, "a"))
    server.clock.pass_time(UPLOAD_S + 1)
    assert (await mine.put(late, state(2, "a"))).status == 409
    for forged in (url[:-1], f"{url}x", url.rpartition("/")[0] + "/" + "A" * 43):
        assert (await server.ask("PUT", forged, token=None, body=state(3))).status == 404
    assert await mine.read() == state(1, "a")


async def test_old_announcements_give_way_to_new_ones(server: CloudServer) -> None:
    mine = await _locked(server)
    first = await mine.announce(state(1, "a"))
    for _ in range(UPLOADS_KEPT):
        last = await mine.announce(state(1, "a"))
    assert (await mine.put(first, state(1, "a"))).status == 404
    assert (await mine.put(last, state(1, "a"))).status == 200


@pytest.mark.promise("P4")
async def test_a_fenced_write_is_refused_with_words_and_its_bytes_are_kept(server: CloudServer) -> None:
    zombie = await _locked(server, await server.token())
    await zombie.write(state(1, "a"))
    await server.break_()
    heir = await _locked(server)
    refused = await zombie.write(state(2, "a", "made by the zombie"))
    assert refused.status == 409
    told = error(refused)
    assert told["title"] == f"state '{STATE}' was not written"
    assert "its lock (token 1) was broken at" in told["detail"]
    assert "its runner was deleted" in told["detail"]
    assert "is held by token" in told["detail"]
    [kept] = await server.home.archive.quarantined(STATE)
    assert (await server.home.archive.read_quarantined(STATE, kept.id))[1] == state(2, "a", "made by the zombie")
    assert await heir.read() == state(1, "a")
    assert (await heir.write(state(2, "a", "b"))).status == 200, "the heir is not disturbed"


@pytest.mark.promise("P4")
async def test_a_write_that_is_fenced_between_its_announcement_and_its_bytes_is_refused_and_kept(
    server: CloudServer,
) -> None:
    zombie = await _locked(server)
    told = await zombie.announce(state(1, "a"))
    await server.break_()
    heir = await _locked(server)
    assert (await zombie.put(told, state(1, "a"))).status == 409
    [kept] = await server.home.archive.quarantined(STATE)
    assert kept.serial == 1
    assert await heir.read() is None
    assert len(await server.holders()) == 1, "the heir's hold is not ended by it"


@pytest.mark.promise("P4")
async def test_a_late_write_ends_no_other_hold_than_its_own(server: CloudServer) -> None:
    mine = await terraform(server)
    await mine.lock()
    await mine.unlock()
    await mine.lock()
    late = await mine.announce(state(1, "a"))
    await mine.unlock()
    for _ in range(8):
        await mine.lock()
        await mine.unlock()
    await mine.lock()
    assert (await server.view()).lock.holders[0].ticket.endswith(".10"), "begins like the ticket of the late write, .1"
    assert (await mine.put(late, state(1, "a"))).status == 409
    assert len(await server.holders()) == 1


@pytest.mark.promise("P4")
async def test_nobody_writes_without_a_lock_or_under_that_of_another_with_the_same_token(server: CloudServer) -> None:
    holder, other = await _locked(server), await terraform(server)
    refused = await other.write(state(1, "a"))
    assert refused.status == 409
    assert "this Terraform has not locked it" in error(refused)["detail"]
    assert "next: leave out -lock=false" in error(refused)["detail"]
    assert len(await server.home.archive.quarantined(STATE)) == 1
    assert await holder.read() is None


@pytest.mark.promise("P6")
@pytest.mark.parametrize(
    ("body", "why"),
    [
        (state(2, "a", lineage="other"), "its lineage is other"),
        (state(1, "a", "b"), "1"),
        (state(4, "a").replace(b'"version": 4', b'"version": 3'), "version"),
    ],
)
async def test_what_may_not_follow_is_refused_kept_and_ends_the_hold_that_terraform_would_not(
    server: CloudServer, body: bytes, why: str
) -> None:
    mine = await _locked(server)
    await mine.write(state(2, "a"))
    refused = await mine.write(body)
    assert refused.status == 409
    assert why in error(refused)["detail"]
    [kept] = await server.home.archive.quarantined(STATE)
    assert (await server.home.archive.read_quarantined(STATE, kept.id))[1] == body
    assert await server.holders() == [], "Terraform does not unlock after a refused write"
    view = await server.view()
    assert view.lock.pause is None
    heir = await _locked(server)
    assert await heir.read() == state(2, "a")


@pytest.mark.promise("P1")
async def test_a_refused_write_of_a_terraform_that_may_still_be_at_work_leaves_the_state_paused(
    server: CloudServer,
) -> None:
    mine = await _locked(server)
    await mine.write(state(2, "a"))
    server.clock.pass_time(SNAPSHOT_S_MIN + 1)
    assert (await mine.write(state(3, "a", lineage="other"))).status == 409
    view = await server.view()
    assert view.lock.holders == ()
    assert view.lock.pause is not None
    assert f"interlock queue resume {STATE}" in view.lock.pause.reason
    last = await mine.write(state(4, "a", "b", lineage="other"))
    assert last.status == 409
    assert len(await server.home.archive.quarantined(STATE)) == 2, "also what it writes after that is kept"


async def test_terraform_may_insist_where_nothing_is_lost_and_an_operator_anywhere(server: CloudServer) -> None:
    token = await server.token(Role.RUNNER)
    mine = await _locked(server, token)
    assert (await mine.write(state(7, "a"), force=True)).status == 200, "every migration insists"
    refused = await mine.write(state(2, "b", lineage="other"), force=True)
    assert (refused.status, "may not restore" in error(refused)["title"]) == (403, True)
    await mine.unlock()
    operator = await _locked(server, await server.token(Role.OPERATOR))
    assert (await operator.write(state(2, "b", lineage="other"), force=True)).status == 200
    assert await operator.read() == state(2, "b", lineage="other")
    newest = (await server.home.archive.history(STATE))[0]
    assert (newest.kind, newest.note) == (VersionKind.PUSH, "pushed by force")


async def test_where_policies_want_two_persons_one_cannot_insist(server: CloudServer) -> None:
    await server.home.policies.replace((Policy(name="careful", states="acme/*", two_persons=True),))
    operator = await _locked(server, await server.token(Role.OPERATOR))
    assert (await operator.write(state(2, "a"))).status == 200, "nothing is replaced"
    refused = await operator.write(state(1, "b", lineage="other"), force=True)
    assert refused.status == 403
    assert "interlock approve" in error(refused)["detail"]
    assert await operator.read() == state(2, "a")


async def test_a_version_may_come_whole_in_one_request(server: CloudServer) -> None:
    mine = await _locked(server)
    told = await mine.announce(state(1, "a"), whole=True)
    assert (told.status, told.json()["data"]["attributes"]["status"]) == (201, "finalized")
    damaged = await mine.announce(state(2, "a"), whole=True, md5="0" * 32)
    assert damaged.status == 400
    odd = await mine.announce(state(2, "a"), state="no base64!")
    assert odd.status == 400
    assert await mine.read() == state(1, "a")


async def test_the_other_form_of_a_state_is_taken_and_not_kept(server: CloudServer) -> None:
    mine = await _locked(server)
    told = await mine.announce(state(1, "a"))
    url = told.json()["data"]["attributes"]["hosted-json-state-upload-url"].removeprefix("http://tfe.example:8650")
    assert (await server.ask("PUT", url, token=None, body=b"{}" * 1000)).status == 200
    assert (await server.ask("PUT", f"{url[:-6]}/json", token=None, body=b"{}")).status == 404
    assert await mine.read() is None


async def test_outputs_have_their_types_and_a_secret_one_is_told_only_when_it_is_asked_for(server: CloudServer) -> None:
    outputs: dict[str, Any] = {
        "plain": {"value": "x", "type": "string"},
        "flag": {"value": True, "type": "bool"},
        "many": {"value": [1, "a"], "type": ["tuple", ["number", "string"]]},
        "map": {"value": {"a": 1}, "type": ["object", {"a": "number"}]},
        "número": {"value": "s3cret", "type": "string", "sensitive": True},
    }
    mine = await _locked(server)
    await mine.write(state(1, "a", outputs=outputs))
    told = await mine.ask("GET", f"workspaces/{mine.id}/current-state-version-outputs")
    assert "s3cret" not in told.body.decode()
    found = {row["attributes"]["name"]: row for row in told.json()["data"]}
    for name, output in outputs.items():
        assert found[name]["attributes"]["detailed-type"] == output["type"]
    kinds = {name: row["attributes"]["type"] for name, row in found.items()}
    assert kinds == {"plain": "string", "flag": "boolean", "many": "array", "map": "map", "número": "string"}
    one = await mine.ask("GET", f"state-version-outputs/{found['número']['id']}")
    assert one.json()["data"]["attributes"]["value"] == "s3cret"
    version = (await mine.ask("GET", f"workspaces/{mine.id}/current-state-version")).json()["data"]["id"]
    assert (await mine.ask("GET", f"state-versions/{version}/outputs")).json()["data"] == told.json()["data"]


async def test_a_state_without_versions_has_no_outputs_and_no_version(server: CloudServer) -> None:
    mine = await _locked(server)
    for path in ("current-state-version", "current-state-version-outputs"):
        assert (await mine.ask("GET", f"workspaces/{mine.id}/{path}")).status == 404
    for path in ("sv-acme~app~v1", "sv-acme~app~u" + "0" * 20, "sv-x", "sv-acme~app~v0", "sv-acme~..~v1"):
        assert (await mine.ask("GET", f"state-versions/{path}")).status == 404


async def test_the_versions_of_a_workspace_are_listed_newest_first(server: CloudServer) -> None:
    mine = await _locked(server)
    for serial in (1, 2, 3):
        await mine.write(state(serial, "a"))
    query = "filter%5Bworkspace%5D%5Bname%5D=app&filter%5Borganization%5D%5Bname%5D=acme&page%5Bsize%5D=2"
    told = await mine.ask("GET", f"state-versions?{query}")
    assert [row["attributes"]["serial"] for row in told.json()["data"]] == [3, 2]
    assert told.json()["meta"]["pagination"]["total-pages"] == 2
    first = told.json()["data"][1]["attributes"]["hosted-state-download-url"].removeprefix("http://tfe.example:8650")
    assert (await mine.ask("GET", first)).body == state(2, "a")


@pytest.mark.promise("P3", "P11")
async def test_a_state_that_cannot_be_read_is_never_told_to_be_absent(server: CloudServer) -> None:
    mine = await _locked(server)
    await mine.write(state(1, "a"))
    head = (await server.view()).head
    assert head is not None
    version = await server.home.archive.version(STATE, number=1)
    assert version is not None
    await server.home.store.blobs.delete(version.blob)
    url = "/api/v2/state-versions/sv-acme~app~v1/download"
    assert (await mine.ask("GET", url)).status != 404
    await server.home.store.blobs.delete(head.meta_digest)
    for path in ("current-state-version", "current-state-version-outputs"):
        assert (await mine.ask("GET", f"workspaces/{mine.id}/{path}")).status == 503


@pytest.mark.promise("P11")
async def test_the_same_state_is_reached_by_terraforms_own_protocol(server: CloudServer) -> None:
    mine = await _locked(server)
    await mine.write(state(1, "a"))
    assert (await server.ask("GET", f"/state/{STATE}")).body == state(1, "a")
    lock = json.dumps({"ID": "other", "Operation": "OperationTypeApply"}).encode()
    assert (await server.ask("LOCK", f"/state/{STATE}?wait=0", body=lock)).status == 423
    assert (await mine.unlock()).status == 200
    assert (await server.ask("LOCK", f"/state/{STATE}?wait=0", body=lock)).status == 200
    refused = await mine.write(state(2, "a"))
    assert refused.status == 409
    assert (await server.ask("POST", f"/state/{STATE}?ID=other", body=state(2, "b"))).status == 200
    assert await mine.read() == state(2, "b")
