"""The few ways in which a kind behaves like no other."""

import wave
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pytest

from interlock.simulator import Delays, OAuthClient, Terms
from interlock.simulator.answer import Reply, Request

PLANS = "/telephony/providers/edges/sites/{}/numberplans"
CONTENTS = {"type": "object", "properties": {}}


def site(api: Any, name: str = "Berlin") -> str:
    location = api.post("/locations", {"name": f"Location of {name}"})["id"]
    body = {"name": name, "location": {"id": location}}
    return str(api.post("/telephony/providers/edges/sites", body)["id"])


def test_a_site_is_born_with_the_default_number_plans(api: Any) -> None:
    where = PLANS.format(site(api))
    names = [plan["name"] for plan in api.get(where)]
    assert "Emergency" in names
    written = api.done(api.send("PUT", where, [{"name": "Own plan", "matchType": "numberList"}]))
    assert [plan["name"] for plan in written] == ["Own plan"]
    assert api.send("PUT", where, [5]).status == 400


def test_the_default_site_stays(api: Any) -> None:
    first, second = site(api), site(api, "Paris")
    api.done(api.send("PUT", "/organizations/me", {"defaultSiteId": first}))
    assert api.get("/organizations/me")["defaultSiteId"] == first
    assert api.send("DELETE", f"/telephony/providers/edges/sites/{first}").status == 409
    api.done(api.send("DELETE", f"/telephony/providers/edges/sites/{second}"))


def test_a_site_takes_only_media_regions_that_there_are(api: Any) -> None:
    location = api.post("/locations", {"name": "Here"})["id"]
    body = {"name": "S", "location": {"id": location}, "mediaRegions": ["mars-1"]}
    assert api.send("POST", "/telephony/providers/edges/sites", body).status == 400
    body["mediaRegions"] = [api.get("/telephony/mediaregions")["awsHomeRegion"]]
    api.post("/telephony/providers/edges/sites", body)


def test_a_phone_of_a_user_is_a_station_and_its_lines_keep_their_ids(api: Any) -> None:
    template = api.get("/telephony/providers/edges/phonebasesettings/template", phoneMetabaseId="webrtc.json")
    base = {"name": "B", "phoneMetaBase": {"id": "webrtc.json"}, "lines": template["lines"]}
    settings = api.post("/telephony/providers/edges/phonebasesettings", base)
    user = api.user()
    body = {
        "name": "P",
        "site": {"id": site(api)},
        "phoneBaseSettings": {"id": settings["id"]},
        "webRtcUser": {"id": user},
        "lines": [{"name": "line 1"}],
    }
    phone = api.post("/telephony/providers/edges/phones", body)
    station = api.get("/stations", webRtcUserId=user)["entities"][0]["id"]
    assert api.send("PUT", f"/users/{user}/station/associatedstation/{station}").status == 202
    again = api.done(api.send("PUT", f"/telephony/providers/edges/phones/{phone['id']}", {**body, "name": "Q"}))
    assert again["lines"][0]["id"] == phone["lines"][0]["id"]
    assert api.send("DELETE", f"/telephony/providers/edges/phonebasesettings/{settings['id']}").status == 409
    assert api.send("DELETE", f"/users/{user}/station/associatedstation/{station}").status == 405


TELEPHONY = "/telephony/providers/edges"


def trunk_settings(api: Any, name: str = "SIP") -> str:
    body = {"name": name, "trunkMetabase": {"id": "external_sip.json"}, "trunkType": "EXTERNAL"}
    return str(api.post(f"{TELEPHONY}/trunkbasesettings", body)["id"])


@pytest.mark.parametrize("owner", ["edgegroups", "edge"])
def test_settings_make_a_trunk_where_they_are_assigned_and_stay_while_it_is_there(api: Any, owner: str) -> None:
    settings, path = trunk_settings(api), TELEPHONY if owner == "edge" else f"{TELEPHONY}/{owner}"
    made = api.post(path, {"name": "E", "edgeGroup": {}})
    assignment = {"edgeTrunkBaseAssignment": {"trunkBase": {"id": settings, "name": "SIP"}}}
    assigned = {**made, "edgeGroup": assignment} if owner == "edge" else {**made, **assignment}
    changed = api.done(api.send("PUT", f"{path}/{made['id']}", assigned))
    (trunk,) = api.get(f"{TELEPHONY}/trunks")["entities"]
    assert (trunk["trunkBase"]["id"], trunk["name"]) == (settings, "SIP")
    assert trunk["edge" if owner == "edge" else "edgeGroup"] == {"id": made["id"]}
    assert api.get(f"{TELEPHONY}/trunks/{trunk['id']}") == trunk
    assert api.send("DELETE", f"{TELEPHONY}/trunkbasesettings/{settings}").status == 409
    plain = {"name": "F", "edgeGroup": {}, "version": changed["version"]}
    api.done(api.send("PUT", f"{path}/{made['id']}", plain))
    assert api.get(f"{TELEPHONY}/trunks/{trunk['id']}") == trunk
    api.done(api.send("DELETE", f"{path}/{made['id']}"))
    assert api.send("GET", f"{TELEPHONY}/trunks/{trunk['id']}").status == 404
    api.done(api.send("DELETE", f"{TELEPHONY}/trunkbasesettings/{settings}"))


def test_a_trunk_is_seen_as_late_as_the_assignment_that_makes_it(api_with: Callable[[Terms], Any]) -> None:
    api = api_with(Terms(delays=Delays(read_s=2, list_s=5)))
    group = {"name": "G", "phoneTrunkBases": [{"id": trunk_settings(api)}]}
    api.post(f"{TELEPHONY}/edgegroups", group)
    assert api.get(f"{TELEPHONY}/trunks")["entities"] == []
    api.elapsed_s += 6
    (trunk,) = api.get(f"{TELEPHONY}/trunks")["entities"]
    assert api.get(f"{TELEPHONY}/trunks/{trunk['id']}") == trunk


def test_a_group_with_edges_stays_and_an_edge_names_only_what_there_is(api: Any) -> None:
    group = api.post(f"{TELEPHONY}/edgegroups", {"name": "G"})["id"]
    edge = api.post(TELEPHONY, {"name": "E", "edgeGroup": {"id": group}})
    assert api.get(f"{TELEPHONY}/trunks")["entities"] == []
    assert api.send("DELETE", f"{TELEPHONY}/edgegroups/{group}").status == 409
    for wrong in ({"id": "nobody"}, {"edgeTrunkBaseAssignment": 5}, {"edgeTrunkBaseAssignment": {"trunkBase": "x"}}):
        assert api.send("PUT", f"{TELEPHONY}/{edge['id']}", {"name": "E", "edgeGroup": wrong}).status == 400
    api.done(api.send("DELETE", f"{TELEPHONY}/{edge['id']}"))
    api.done(api.send("DELETE", f"{TELEPHONY}/edgegroups/{group}"))


def test_two_pools_of_numbers_never_overlap(api: Any) -> None:
    path = "/telephony/providers/edges/didpools"
    api.post(path, {"startPhoneNumber": "+13175550100", "endPhoneNumber": "+13175550199"})
    inside = {"startPhoneNumber": "+13175550150", "endPhoneNumber": "+13175550150"}
    assert api.send("POST", path, inside).status == 409
    backwards = {"startPhoneNumber": "+13175550300", "endPhoneNumber": "+13175550200"}
    assert api.send("POST", path, backwards).status == 400


def test_numbers_of_a_pool_are_listed_when_a_phone_or_an_ivr_has_them(api: Any) -> None:
    api.post(f"{TELEPHONY}/didpools", {"startPhoneNumber": "+13175550100", "endPhoneNumber": "+13175550199"})
    assert api.get(f"{TELEPHONY}/dids")["entities"] == []
    base = api.post(f"{TELEPHONY}/phonebasesettings", {"name": "B", "phoneMetaBase": {"id": "sip.json"}})["id"]
    lines = [
        {"properties": {"station_identity_address": {"value": {"instance": number}}}}
        for number in ("+13175550100", "+14165550100", "no number")
    ]
    body = {"name": "P", "site": {"id": site(api)}, "phoneBaseSettings": {"id": base}, "lines": [*lines, {}]}
    phone = api.post(f"{TELEPHONY}/phones", body)["id"]
    ivr = api.post("/architect/ivrs", {"name": "I", "dnis": ["+13175550101"]})["id"]
    listed = api.get(f"{TELEPHONY}/dids")["entities"]
    assert [(each["phoneNumber"], each["owner"]["id"]) for each in listed] == [
        ("+13175550100", phone),
        ("+13175550101", ivr),
    ]
    assert api.get(f"{TELEPHONY}/dids", phoneNumber="+13175550101")["entities"] == listed[1:]


@pytest.mark.parametrize("path", ["evaluations", "surveys"])
def test_a_published_form_stays_as_it_is_and_a_draft_follows_it(api: Any, path: str) -> None:
    form = api.post(f"/quality/forms/{path}", {"name": "F", "questionGroups": [{"name": "G", "questions": [{}]}]})
    assert form["questionGroups"][0]["questions"][0]["id"]
    draft = api.post(f"/quality/publishedforms/{path}", {"id": form["id"], "published": True})
    assert (draft["published"], draft["contextId"]) == (False, form["contextId"])
    assert draft["id"] != form["id"]
    assert api.get(f"/quality/forms/{path}/{form['id']}")["published"] is True
    body = {"name": "F2", "questionGroups": [{"name": "G"}]}
    assert api.send("PUT", f"/quality/forms/{path}/{form['id']}", body).status == 400
    assert api.send("POST", f"/quality/publishedforms/{path}", {"id": form["id"]}).status == 400
    versions = [each["id"] for each in api.get(f"/quality/forms/{path}/{form['id']}/versions")["entities"]]
    assert versions == [draft["id"], form["id"]]
    assert [each["id"] for each in api.get(f"/quality/forms/{path}")["entities"]] == [draft["id"]]


def test_published_forms_are_found_by_their_contexts(api: Any) -> None:
    form = api.post("/quality/forms/evaluations", {"name": "F", "questionGroups": [{"name": "G"}]})
    path = "/quality/forms/evaluations/bulk/contexts"
    assert api.get(path, contextId=form["contextId"]) == []
    api.post("/quality/publishedforms/evaluations", {"id": form["id"]})
    assert [each["id"] for each in api.get(path, contextId=form["contextId"])] == [form["id"]]


def test_a_configuration_of_web_deployments_is_published_under_the_next_number(api: Any) -> None:
    made = api.post("/webdeployments/configurations", {"name": "C", "languages": ["en-us"]})
    versions = f"/webdeployments/configurations/{made['id']}/versions"
    assert api.get(versions)["entities"] == []
    assert api.post(f"{versions}/draft/publish")["version"] == "1"
    api.done(api.send("PUT", f"{versions}/draft", {"name": "D", "languages": ["en-us"]}))
    assert api.post(f"{versions}/draft/publish")["version"] == "2"
    assert api.get(f"{versions}/draft")["name"] == "D"
    assert api.get(f"{versions}/2")["status"] == "Active"


def test_the_configuration_of_an_integration_has_a_version_of_its_own(api: Any) -> None:
    made = api.post("/integrations", {"integrationType": {"id": "custom-rest-actions"}})
    path = f"/integrations/{made['id']}/config/current"
    config = api.get(path)
    credential = api.post("/integrations/credentials", {"name": "K", "type": {"name": "basicAuth"}})["id"]
    wanted = {"name": "Mine", "version": config["version"], "credentials": {"basicAuth": {"id": credential}}}
    written = api.done(api.send("PUT", path, wanted))
    assert (written["version"], written["name"]) == (config["version"] + 1, "Mine")
    assert api.send("PUT", path, wanted).status == 409
    assert api.send("DELETE", f"/integrations/credentials/{credential}").status == 409
    assert api.get("/integrations/credentials/listing")["entities"][0]["id"] == credential
    wrong = {**wanted, "version": written["version"], "credentials": {"basicAuth": {"id": "nobody"}}}
    assert api.send("PUT", path, wrong).status == 400


def test_the_listing_of_credentials_goes_on_after_the_last_one_until_it_is_empty(api: Any) -> None:
    made = [api.post("/integrations/credentials", {"name": n, "type": {"name": "basicAuth"}})["id"] for n in "abc"]
    path, after, listed = "/integrations/credentials/listing", "", []
    while part := api.get(path, pageSize="2", after=after)["entities"]:
        listed += [each["id"] for each in part]
        after = listed[-1]
    assert listed == made
    assert api.send("GET", path, after="nobody").status == 400


def test_an_action_keeps_its_integration_and_answers_its_templates(api: Any) -> None:
    integration = api.post("/integrations", {"integrationType": {"id": "custom-rest-actions"}})["id"]
    contract = {"input": {"inputSchema": CONTENTS}, "output": {"successSchema": CONTENTS}}
    body = {"name": "A", "category": "C", "integrationId": integration, "contract": contract}
    config = {"request": {"requestTemplate": "${input.raw}"}, "response": {"successTemplate": "${rawResult}"}}
    action = api.post("/integrations/actions", {**body, "config": config})["id"]
    path = f"/integrations/actions/{action}/templates/"
    assert api.get(path + "requesttemplate.vm") == b"${input.raw}"
    assert api.get(path + "successtemplate.vm") == b"${rawResult}"
    assert api.send("DELETE", f"/integrations/{integration}").status == 409
    assert api.send("POST", "/integrations/actions", {**body, "contract": {"input": {}}}).status == 400


def test_resources_of_a_prompt_are_named_by_their_language(api: Any) -> None:
    prompt = api.post("/architect/prompts", {"name": "Hello"})["id"]
    one = f"/architect/prompts/{prompt}/resources/en-us"
    assert api.send("GET", one).status == 404
    api.post(f"/architect/prompts/{prompt}/resources", {"language": "en-us", "ttsString": "hi"})
    assert api.send("POST", f"/architect/prompts/{prompt}/resources", {"language": "en-us"}).status == 409
    api.done(api.send("PUT", one, {"language": "en-us", "ttsString": "hello"}))
    assert api.get(one)["ttsString"] == "hello"
    assert api.get(f"/architect/prompts/{prompt}")["resources"][0]["ttsString"] == "hello"
    assert api.send("DELETE", one).status == 204
    assert api.get(f"/architect/prompts/{prompt}")["resources"] == []


def sound() -> bytes:
    """Return one second of WAVE with every byte in it, and what a careless reader of forms takes for a boundary."""
    file = BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((1, 2, 8000, 0, "NONE", ""))
        written.writeframes((bytes(range(256)) * 63)[:15_993] + b"\r\n--x\n\r")
    return file.getvalue()


def form(file: bytes, name: str = "file") -> tuple[bytes, dict[str, str]]:
    head = f'--BOUND\r\nContent-Disposition: form-data; name="{name}"; filename="a.wav"\r\n'
    body = f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + file + b"\r\n--BOUND--\r\n"
    return body, {"content-type": "multipart/form-data; boundary=BOUND"}


def uploaded(api: Any, address: str, file: bytes, token: str, name: str = "file") -> int:
    body, headers = form(file, name)
    return int(aside(api, "POST", address, {**headers, "authorization": token}, body).status)


def aside(api: Any, method: str, address: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
    """Ask an address that is no part of the platform API."""
    request = Request(method=method, path=urlsplit(address).path, headers=headers, body=body)
    reply: Reply = api.simulation.handle(request, api.moment).reply
    return reply


def test_a_sound_file_is_sent_to_the_address_of_its_resource_and_fetched_from_another(
    api_with: Callable[[Terms], Any],
) -> None:
    api = api_with(Terms(delays=Delays(media_s=3)))
    prompt = api.post("/architect/prompts", {"name": "Hello"})["id"]
    made = api.post(f"/architect/prompts/{prompt}/resources", {"language": "en-us", "tags": {"filename": ["a.wav"]}})
    one = f"/architect/prompts/{prompt}/resources/en-us"
    assert (made["uploadStatus"], made["tags"], "mediaUri" in made) == ("created", {"filename": ["a.wav"]}, False)
    file = sound()
    for scheme in ("Bearer ", "bearer ", ""):  # the provider sends the token alone
        assert uploaded(api, made["uploadUri"], file, scheme + api.token) == 200
    assert api.get(one)["uploadStatus"] == "uploaded"
    api.elapsed_s += 4
    ready = api.get(one)
    assert (ready["uploadStatus"], ready["durationSeconds"]) == ("transcoded", 1.0)
    (in_prompt,) = api.get(f"/architect/prompts/{prompt}")["resources"]
    assert {name: ready[name] for name in in_prompt} == in_prompt
    assert "mediaUri" not in api.get(f"/architect/prompts/{prompt}", includeMediaUris="false")["resources"][0]
    assert "resources" not in api.get(f"/architect/prompts/{prompt}", includeResources="false")
    fetched = aside(api, "GET", ready["mediaUri"], {})
    assert (fetched.status, fetched.content) == (200, file)
    again = api.done(api.send("PUT", one, {"language": "en-us", "text": "hi", "media": {}, "uploadStatus": "x"}))
    assert (again["uploadStatus"], again["mediaUri"]) == ("transcoded", ready["mediaUri"])
    assert uploaded(api, made["uploadUri"], b"no sound", api.token) == 200
    api.elapsed_s += 4
    assert api.get(one)["uploadStatus"] == "transcodeFailed"


def test_a_sound_file_takes_a_token_a_right_a_form_and_a_resource(api: Any) -> None:
    prompt = api.post("/architect/prompts", {"name": "Hello"})["id"]
    made = api.post(f"/architect/prompts/{prompt}/resources", {"language": "en-us"})
    address = made["uploadUri"]
    assert uploaded(api, address, sound(), "Bearer of nothing") == 401
    assert uploaded(api, address, sound(), "") == 401
    assert uploaded(api, address.replace("en-us", "de-de"), sound(), api.token) == 404
    assert uploaded(api, address, sound(), api.token, "other") == 400
    assert aside(api, "GET", address, {"authorization": api.token}).status == 405
    assert aside(api, "GET", "/_media/0123", {}).status == 403
    api.simulation.login.add(OAuthClient(id="none", secret="none-secret", permissions=frozenset()))
    api.login("none", "none-secret")
    assert uploaded(api, address, sound(), api.token) == 403


def test_a_running_campaign_is_not_deleted(api: Any) -> None:
    contacts = api.post("/outbound/contactlists", {"name": "L", "columnNames": ["Cell"]})["id"]
    body = {"name": "C", "contactList": {"id": contacts}, "dialingMode": "agentless"}
    campaign = api.post("/outbound/campaigns", body)
    assert campaign["campaignStatus"] == "off"
    one = f"/outbound/campaigns/{campaign['id']}"
    running = api.done(api.send("PUT", one, {**body, "campaignStatus": "on", "version": 1}))
    assert api.send("DELETE", one).status == 400
    api.done(api.send("PUT", one, {**body, "campaignStatus": "off", "version": running["version"]}))
    assert api.send("DELETE", one).status == 200


def test_contacts_are_added_searched_and_cleared_by_lists(api: Any) -> None:
    path = f"/outbound/contactlists/{api.post('/outbound/contactlists', {'name': 'L', 'columnNames': ['Cell']})['id']}"
    added = api.post(f"{path}/contacts", [{"data": {"Cell": "1"}}, {"data": {"Cell": "2"}}])
    assert api.get(path)["size"] == 2
    assert api.get(f"{path}/contacts/{added[0]['id']}")["data"] == {"Cell": "1"}
    assert api.post(f"{path}/contacts/search", {})["total"] == 2
    assert api.send("POST", f"{path}/contacts", [5]).status == 400
    assert api.send("POST", f"{path}/clear").status == 202
    assert api.get(path)["size"] == 0


def test_numbers_are_added_to_lists_of_the_organisation_alone(api: Any) -> None:
    own = api.post("/outbound/dnclists", {"name": "D", "dncSourceType": "rds"})["id"]
    assert api.send("POST", f"/outbound/dnclists/{own}/phonenumbers", ["+13175550100", "+13175550100"]).status == 200
    assert api.get(f"/outbound/dnclists/{own}")["size"] == 1
    body = {"name": "E", "dncSourceType": "gryphon"}
    assert api.send("POST", "/outbound/dnclists", body).status == 400
    other = api.post("/outbound/dnclists", {**body, "licenseId": "L"})["id"]
    assert api.send("POST", f"/outbound/dnclists/{other}/phonenumbers", ["+13175550100"]).status == 409


def test_the_outbound_settings_and_mappings_are_changed_and_never_created(api: Any) -> None:
    api.done(api.send("PATCH", "/outbound/settings", {"maxCallsPerAgent": 7}))
    assert api.get("/outbound/settings")["maxCallsPerAgent"] == 7
    code = api.post("/routing/wrapupcodes", {"name": "W"})["id"]
    api.done(api.send("PUT", "/outbound/wrapupcodemappings", {"mapping": {code: ["Contact_UnCallable"]}}))
    assert code in api.get("/outbound/wrapupcodemappings")["mapping"]
    assert api.send("PUT", "/outbound/wrapupcodemappings", {"mapping": 5}).status == 400


def test_a_worktype_is_born_with_an_open_and_a_closed_status(api: Any) -> None:
    workbin = api.post("/taskmanagement/workbins", {"name": "B"})["id"]
    worktype = api.post("/taskmanagement/worktypes", {"name": "T", "defaultWorkbinId": workbin})
    assert [status["category"] for status in worktype["statuses"]] == ["Open", "Closed"]
    assert worktype["defaultStatus"]["id"] == worktype["statuses"][0]["id"]
    path = f"/taskmanagement/worktypes/{worktype['id']}/statuses/"
    assert api.send("DELETE", path + worktype["statuses"][0]["id"]).status == 400
    assert api.send("DELETE", path + worktype["statuses"][1]["id"]).status == 204
    assert api.send("DELETE", f"/taskmanagement/workbins/{workbin}").status == 409
    bare = {"name": "U", "defaultWorkbinId": workbin, "disableDefaultStatusCreation": True}
    assert api.post("/taskmanagement/worktypes", bare)["statuses"] == []


def test_workbins_are_found_by_queries_in_parts(api: Any) -> None:
    for name in ("one", "two", "three"):
        api.post("/taskmanagement/workbins", {"name": name})
    path = "/taskmanagement/workbins/query"
    first = api.post(path, {"pageSize": 2})
    rest = api.post(path, {"pageSize": 2, "after": first["after"]})
    assert [each["name"] for each in first["entities"] + rest["entities"]] == ["one", "two", "three"]
    assert "after" not in rest
    found = api.post(path, {"filters": [{"name": "name", "type": "String", "operator": "EQ", "values": ["two"]}]})
    assert [each["name"] for each in found["entities"]] == ["two"]
    for wrong in ({"filters": 5}, {"filters": [{"name": "name"}]}, {"after": "x"}, {"pageSize": 0}):
        assert api.send("POST", path, wrong).status == 400


def test_a_document_names_its_category_and_labels(api: Any) -> None:
    base = f"/knowledge/knowledgebases/{api.post('/knowledge/knowledgebases', {'name': 'K'})['id']}"
    category = api.post(f"{base}/categories", {"name": "C"})["id"]
    label = api.post(f"{base}/labels", {"name": "L", "color": "#000000"})["id"]
    document = api.post(f"{base}/documents", {"title": "D", "categoryId": category, "labelIds": [label]})
    assert document["category"] == {"id": category, "name": "C"}
    assert document["labels"] == [{"id": label, "name": "L"}]
    assert api.send("POST", f"{base}/documents", {"title": "E", "categoryId": "nobody"}).status == 400
    assert api.send("GET", f"{base}/categories/nobody").status == 404
    other = f"/knowledge/knowledgebases/{api.post('/knowledge/knowledgebases', {'name': 'K2'})['id']}"
    assert api.send("GET", f"{other}/categories/{category}").status == 404


def test_responses_show_their_libraries_by_name_and_are_listed_by_library(api: Any) -> None:
    path, (one, two) = (
        "/responsemanagement/responses",
        [api.post("/responsemanagement/libraries", {"name": name})["id"] for name in ("One", "Two")],
    )
    texts = [{"content": "hello", "contentType": "text/plain"}]
    made = api.post(path, {"name": "R", "libraries": [{"id": one}], "texts": texts})
    assert made["libraries"] == [{"id": one, "name": "One"}]
    assert [each["id"] for each in api.get(path, libraryId=one)["entities"]] == [made["id"]]
    assert api.get(path, libraryId=two)["entities"] == []


def test_member_divisions_of_a_skill_group_come_and_go(api: Any) -> None:
    group = api.post("/routing/skillgroups", {"name": "G"})["id"]
    home = api.get("/authorization/divisions/home")["id"]
    path = f"/routing/skillgroups/{group}/members/divisions"
    assert api.send("POST", path, {"addDivisionIds": [home]}).status == 204
    assert [each["id"] for each in api.get(path)["entities"]] == [home]
    assert api.send("POST", path, {"removeDivisionIds": [home]}).status == 204
    assert api.get(path)["entities"] == []


def test_proficiencies_may_be_fractions(api: Any) -> None:
    user, skill = api.user(), api.skill()
    path = f"/users/{user}/routingskills"
    api.done(api.send("PATCH", path + "/bulk", [{"id": skill, "proficiency": 2.5}]))
    assert api.get(path)["entities"][0]["proficiency"] == 2.5
    assert api.send("PATCH", path + "/bulk", [{"id": skill, "proficiency": 5.5}]).status == 400


def test_groups_are_found_by_a_search(api: Any) -> None:
    group = api.post("/groups", {"name": "Night shift"})["id"]
    query = [{"fields": ["name"], "value": "night", "type": "STARTS_WITH"}]
    assert [each["id"] for each in api.post("/groups/search", {"query": query})["results"]] == [group]
    none = [{"fields": ["name"], "value": "day", "type": "CONTAINS"}]
    assert api.post("/groups/search", {"query": none})["total"] == 0


def test_lists_by_parts_end(api: Any) -> None:
    for name in ("one", "two", "three"):
        api.post("/teams", {"name": name})
    first = api.get("/teams", pageSize="2")
    assert first["nextUri"] == "/api/v2/teams?after=2&pageSize=2"
    rest = api.get("/teams", pageSize="2", after=first["after"])
    assert [each["name"] for each in rest["entities"]] == ["three"]
    assert "nextUri" not in rest
