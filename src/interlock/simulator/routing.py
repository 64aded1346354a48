"""Skills, languages, wrap-up codes and queues with their members. Pure.

Source: docs/facts/genesys.md#genesys-33, with its crash traps: what is present must be whole.
"""

from __future__ import annotations

from .answer import ApiRefusal, Json, Reply, bad_request, not_found
from .call import Call, division, one_of, page, reference, shown, text, whole
from .collection import Collection
from .org import Kind, Record, VersionForm
from .routes import Route

KINDS = (
    Kind(name="skill", entity="Skill", service="Routing", version=VersionForm.TEXT, keeps_deleted=True),
    Kind(name="language", entity="Language", service="Routing", version=VersionForm.TEXT, keeps_deleted=True),
    Kind(name="wrapupcode", entity="WrapupCode", service="ContactCenter"),
    Kind(name="queue", entity="Queue", service="ContactCenter", limit=5000),
)

MAX_MEMBERS_PER_CALL = 100
MAX_CODES_PER_CALL = 100
MAX_MEMBERS = 5000
MAX_RING_NUMBER = 6
MAX_DAY_MS = 86_400_000

# Fields that a queue keeps exactly as they were written; everything else has its own check.
_KEPT = (
    "routingRules",
    "bullseye",
    "conditionalGroupRouting",
    "agentOwnedRouting",
    "memberGroups",
    "queueFlow",
    "emailInQueueFlow",
    "messageInQueueFlow",
    "whisperPrompt",
    "onHoldPrompt",
    "defaultScripts",
    "outboundMessagingAddresses",
    "outboundEmailAddress",
    "callingPartyName",
    "callingPartyNumber",
    "autoAnswerOnly",
    "enableTranscription",
    "enableAudioMonitoring",
    "enableManualAssignment",
    "suppressInQueueCallRecording",
    "scoringMethod",
    "peerId",
)
_MEDIA = {"call": 8, "callback": 30, "chat": 30, "email": 300, "message": 30}  # default seconds until an alert ends
_EVALUATION_METHODS = ("ALL", "BEST", "NONE")
_PARTS = ("members", "wrapupCodes")  # kept in the record, served by their own paths


def routes() -> list[Route]:
    """Return the routes of this module."""
    view, edit = ("routing:queue:view",), ("routing:queue:edit",)
    queue = "/routing/queues/{id}"
    return [
        *SKILLS.routes(),
        *LANGUAGES.routes(),
        *WRAPUPCODES.routes(),
        Route(method="POST", path="/routing/queues", handler=_create_queue, permissions=("routing:queue:add",)),
        Route(method="GET", path="/routing/queues", handler=_list_queues, permissions=view),
        Route(method="GET", path=queue, handler=_read_queue, permissions=view),
        Route(method="PUT", path=queue, handler=_update_queue, permissions=edit),
        Route(method="DELETE", path=queue, handler=_delete_queue, permissions=("routing:queue:delete",)),
        Route(method="GET", path=queue + "/members", handler=_list_members, permissions=view),
        Route(method="POST", path=queue + "/members", handler=_change_members, permissions=edit),
        Route(method="PATCH", path=queue + "/members/{user}", handler=_ring_member, permissions=edit),
        Route(method="DELETE", path=queue + "/members/{user}", handler=_drop_member, permissions=edit),
        Route(method="GET", path=queue + "/wrapupcodes", handler=_list_codes, permissions=view),
        Route(method="POST", path=queue + "/wrapupcodes", handler=_add_codes, permissions=edit),
        Route(method="DELETE", path=queue + "/wrapupcodes/{code}", handler=_drop_code, permissions=edit),
    ]


def _build_named(_call: Call, body: Json, _current: Json | None) -> Json:
    return {"name": text(body, "name", required=True), "state": "active"}


def _build_code(call: Call, body: Json, current: Json | None) -> Json:
    return {
        "name": text(body, "name", required=True),
        "description": text(body, "description", limit=1000) or "",
        "division": division(call, body, current, any_allowed=True),
    }


def _build_queue(call: Call, body: Json, current: Json | None) -> Json:
    return {
        "name": text(body, "name", required=True),
        "description": text(body, "description", limit=1000) or "",
        "division": division(call, body, current),
        "mediaSettings": _media_settings(body.get("mediaSettings")),
        "acwSettings": _acw(body.get("acwSettings")),
        "skillEvaluationMethod": one_of(body, "skillEvaluationMethod", _EVALUATION_METHODS),
        "scoringMethod": "TimestampAndPriority",
        **{name: body[name] for name in _KEPT if body.get(name) is not None},
        **_checked_references(call, body),
        "members": current["members"] if current else {},
        "wrapupCodes": current["wrapupCodes"] if current else [],
    }


def _checked_references(call: Call, body: Json) -> Json:
    flow = reference(call, body, "queueFlow", "flow") if "flow" in call.org.kinds else None
    groups = body.get("memberGroups") or []
    if not isinstance(groups, list) or len(groups) > MAX_MEMBERS_PER_CALL:
        raise bad_request("memberGroups must be a list", "invalid.value")
    for group in groups:
        if not isinstance(group, dict) or not group.get("type"):
            raise bad_request("Each of memberGroups needs an id and a type", "invalid.value")
        if group["type"] == "GROUP":
            reference(call, {"group": group}, "group", "group")
    return {
        **({"queueFlow": flow} if flow is not None else {}),
        "memberGroups": [{"id": group["id"], "type": group["type"]} for group in groups],
    }


def _media_settings(given: object) -> Json:
    wanted = given if isinstance(given, dict) else {}
    return {name: _medium(wanted.get(name), seconds) for name, seconds in _MEDIA.items()}


def _medium(given: object, alerting_s: int) -> Json:
    wanted = given if isinstance(given, dict) else {}
    level = wanted.get("serviceLevel")
    level = level if isinstance(level, dict) else {}
    return {
        **wanted,
        "alertingTimeoutSeconds": whole(wanted, "alertingTimeoutSeconds", alerting_s, least=7, most=86_400),
        "serviceLevel": {
            "percentage": level.get("percentage", 0.8),
            "durationMs": whole(level, "durationMs", 20_000, least=1000, most=MAX_DAY_MS),
        },
    }


def _acw(given: object) -> Json:
    wanted = given if isinstance(given, dict) else {}
    prompt = text(wanted, "wrapupPrompt") or "OPTIONAL"
    timed = prompt in {"MANDATORY_TIMEOUT", "MANDATORY_FORCED_TIMEOUT", "AGENT_REQUESTED"}
    limit = {"timeoutMs": whole(wanted, "timeoutMs", 300_000, least=0, most=MAX_DAY_MS)} if timed else {}
    return {"wrapupPrompt": prompt, **limit}


def _create_queue(call: Call) -> Reply:
    record = call.org.add("queue", _build_queue(call, call.fields(), None), call.moment)
    return Reply(content=_queue_view(record, record.body))


def _list_queues(call: Call) -> Reply:
    wanted = (call.request.query.get("name") or "").strip("*").casefold()
    queues = [_queue_view(record, body) for record, body in call.listed("queue") if wanted in body["name"].casefold()]
    return page(call, queues)


def _read_queue(call: Call) -> Reply:
    return Reply(content=_queue_view(*call.read("queue", call.params[0])))


def _update_queue(call: Call) -> Reply:
    record = call.get("queue", call.params[0])
    changed = call.org.change(record, _build_queue(call, call.fields(), record.body), call.moment)
    return Reply(content=_queue_view(changed, changed.body))


def _delete_queue(call: Call) -> Reply:
    """With forceDelete the in-use protection is off; without it members keep a queue.

    Source: docs/facts/genesys.md#genesys-9.
    """
    record = call.get("queue", call.params[0])
    if call.request.query.get("forceDelete", "").lower() != "true" and record.body["members"]:
        raise ApiRefusal(409, "queue.in.use", "The queue has members; use forceDelete to delete it")
    call.org.remove(record, call.moment)
    return Reply(status=204)


def _queue_view(record: Record, body: Json) -> Json:
    view = shown(record, {name: value for name, value in body.items() if name not in _PARTS})
    members = body["members"]
    view.update(memberCount=len(members), userMemberCount=len(members), joinedMemberCount=len(members))
    return view


def _list_members(call: Call) -> Reply:
    body = call.get("queue", call.params[0]).body
    members = [] if call.request.query.get("memberBy") == "group" else list(body["members"].items())
    return page(call, [_member(call, user_id, ring) for user_id, ring in members])


def _member(call: Call, user_id: str, ring: int) -> Json:
    user = call.org.find("user", user_id)
    name = user.body["name"] if user is not None else ""
    return {"id": user_id, "name": name, "ringNumber": ring, "joined": True, "memberBy": "user"}


def _change_members(call: Call) -> Reply:
    record = call.get("queue", call.params[0])
    members = dict(record.body["members"])
    for user_id in call.ids(MAX_MEMBERS_PER_CALL):
        if call.request.query.get("delete", "").lower() == "true":
            members.pop(user_id, None)
        else:
            call.get("user", user_id)
            members.setdefault(user_id, 1)
    if len(members) > MAX_MEMBERS:
        raise bad_request(f"A queue has at most {MAX_MEMBERS} members", "limit.exceeded")
    call.org.change(record, {**record.body, "members": members}, call.moment, "MemberUpdate")
    return Reply(status=202)


def _ring_member(call: Call) -> Reply:
    record = call.get("queue", call.params[0])
    user_id = _known_member(record, call.params[1])
    ring = whole(call.fields(), "ringNumber", 1, least=1, most=MAX_RING_NUMBER)
    members = {**record.body["members"], user_id: ring}
    call.org.change(record, {**record.body, "members": members}, call.moment, "MemberUpdate")
    return Reply(status=202)


def _drop_member(call: Call) -> Reply:
    record = call.get("queue", call.params[0])
    members = dict(record.body["members"])
    del members[_known_member(record, call.params[1])]
    call.org.change(record, {**record.body, "members": members}, call.moment, "MemberUpdate")
    return Reply(status=204)


def _known_member(record: Record, user_id: str) -> str:
    if user_id not in record.body["members"]:
        raise not_found("queue member", user_id)
    return user_id


def _list_codes(call: Call) -> Reply:
    body = call.get("queue", call.params[0]).body
    found = [call.org.find("wrapupcode", code) for code in body["wrapupCodes"]]
    return page(call, [shown(code, code.body) for code in found if code is not None])


def _add_codes(call: Call) -> Reply:
    record = call.get("queue", call.params[0])
    added = [call.get("wrapupcode", code) for code in call.ids(MAX_CODES_PER_CALL)]
    codes = list(dict.fromkeys([*record.body["wrapupCodes"], *(code.id for code in added)]))
    call.org.change(record, {**record.body, "wrapupCodes": codes}, call.moment)
    return Reply(content=[shown(code, code.body) for code in added])


def _drop_code(call: Call) -> Reply:
    record = call.get("queue", call.params[0])
    if call.params[1] not in record.body["wrapupCodes"]:
        raise not_found("wrap-up code", call.params[1])
    codes = [code for code in record.body["wrapupCodes"] if code != call.params[1]]
    call.org.change(record, {**record.body, "wrapupCodes": codes}, call.moment)
    return Reply(status=204)


SKILLS = Collection(
    kind="skill",
    path="/routing/skills",
    build=_build_named,
    add="routing:skill:manage",
    view="routing:skill:view",
    edit="routing:skill:manage",
    delete="routing:skill:manage",
    updates=(),
    shows_deleted=True,
)
LANGUAGES = Collection(
    kind="language",
    path="/routing/languages",
    build=_build_named,
    add="routing:language:manage",
    view="routing:language:view",
    edit="routing:language:manage",
    delete="routing:language:manage",
    updates=(),
    shows_deleted=True,
)
WRAPUPCODES = Collection(
    kind="wrapupcode",
    path="/routing/wrapupcodes",
    build=_build_code,
    add="routing:wrapupCode:add",
    view="routing:wrapupCode:view",
    edit="routing:wrapupCode:edit",
    delete="routing:wrapupCode:delete",
)
