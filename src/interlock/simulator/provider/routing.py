"""Skills, languages, wrap-up codes and queues. Source of the sequences: docs/facts/genesys.md#genesys-33."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .managed import Lookup, Managed, State
from .parts import Part, bodies, states
from .sdk import Sdk
from .session import pages
from .shapes import FLAG, NUMBER, TEXT_MAP, Blocks, Text, Texts, defaulted, optional, required, settled

MEMBER_WAIT_S = 10.0
DELETE_WAIT_S = 5.0
MEMBERS_PER_CALL = 100

_MEDIA = ("call", "callback", "chat", "email", "message")
_GROUPS = {"groups": "GROUP", "skill_groups": "SKILLGROUP", "teams": "TEAM"}
_SERVICE = ("alerting_timeout_sec", "service_level_percentage", "service_level_duration_ms")


def _medium_blocks(medium: str) -> Blocks:
    service = [optional(name, NUMBER) for name in _SERVICE]
    return Blocks(f"media_settings_{medium}", *service, optional("enable_auto_answer", FLAG), most=1, settled=True)


QUEUE_PARTS = (
    Part("email_in_queue_flow_id", ("emailInQueueFlow", "id")),
    Part("message_in_queue_flow_id", ("messageInQueueFlow", "id")),
    Part("whisper_prompt_id", ("whisperPrompt", "id")),
    Part("on_hold_prompt_id", ("onHoldPrompt", "id")),
    Part("peer_id", ("peerId",)),
    Part("default_script_ids", ("defaultScripts",), TEXT_MAP, by_id=True),
    Part("outbound_messaging_sms_address_id", ("outboundMessagingAddresses", "smsAddress", "id")),
    Part("outbound_messaging_whatsapp_recipient_id", ("outboundMessagingAddresses", "whatsAppRecipient", "id")),
    Part(
        "outbound_messaging_open_messaging_recipient_id",
        ("outboundMessagingAddresses", "openMessagingRecipient", "id"),
    ),
    Part("scoring_method", ("scoringMethod",), default="TimestampAndPriority"),
    Part("last_agent_routing_mode", ("lastAgentRoutingMode",), settled=True),
    Part("suppress_in_queue_call_recording", ("suppressInQueueCallRecording",), FLAG, default=True),
    Part(
        "routing_rules",
        ("routingRules",),
        inside={"operator": "operator", "threshold": "threshold", "wait_seconds": "waitSeconds"},
        block=Blocks(
            "routing_rules",
            optional("operator"),
            optional("threshold", NUMBER),
            optional("wait_seconds", NUMBER),
            most=6,
        ),
    ),
    Part(
        "agent_owned_routing",
        ("agentOwnedRouting",),
        inside={
            "enable_agent_owned_callbacks": "enableAgentOwnedCallbacks",
            "max_owned_callback_hours": "maxOwnedCallbackHours",
            "max_owned_callback_delay_hours": "maxOwnedCallbackDelayHours",
        },
        block=Blocks(
            "agent_owned_routing",
            optional("enable_agent_owned_callbacks", FLAG),
            optional("max_owned_callback_hours", NUMBER),
            optional("max_owned_callback_delay_hours", NUMBER),
            most=1,
        ),
    ),
)


class Skill(Managed):
    """`genesyscloud_routing_skill`: its name cannot change, and deletion is soft."""

    kind = "routing_skill"
    label = "skill"
    fields = (required("name", replaces=True),)
    path = "/routing/skills"

    def make(self, sdk: Sdk, wanted: State) -> str:
        """See `Managed`."""
        return str(sdk.call("POST", self.path, {"name": wanted["name"]})["id"])

    def fetch(self, sdk: Sdk, identifier: str) -> State | None:
        """See `Managed`."""
        answer = sdk.call("GET", f"{self.path}/{identifier}")
        return None if answer.get("state") == "deleted" else {"name": answer["name"]}

    def erase(self, sdk: Sdk, identifier: str) -> None:
        """See `Managed`."""
        sdk.call("DELETE", f"{self.path}/{identifier}")


class Language(Skill):
    """`genesyscloud_routing_language`, the same with another path."""

    kind = "routing_language"
    label = "language"
    path = "/routing/languages"


class WrapupCode(Managed):
    """`genesyscloud_routing_wrapupcode`."""

    kind = "routing_wrapupcode"
    label = "wrap-up code"
    fields = (required("name"), settled("division_id"), optional("description"))

    def make(self, sdk: Sdk, wanted: State) -> str:
        """See `Managed`."""
        return str(sdk.call("POST", "/routing/wrapupcodes", _code(wanted))["id"])

    def fetch(self, sdk: Sdk, identifier: str) -> State | None:
        """See `Managed`."""
        answer = sdk.call("GET", f"/routing/wrapupcodes/{identifier}")
        return {
            "name": answer["name"],
            "division_id": answer["division"]["id"],
            "description": answer.get("description"),
        }

    def alter(self, sdk: Sdk, identifier: str, current: State, wanted: State) -> None:  # noqa: ARG002 - see `Managed`
        """See `Managed`."""
        sdk.call("PUT", f"/routing/wrapupcodes/{identifier}", _code(wanted))

    def erase(self, sdk: Sdk, identifier: str) -> None:
        """See `Managed`."""
        sdk.call("DELETE", f"/routing/wrapupcodes/{identifier}")


class Queue(Managed):
    """`genesyscloud_routing_queue`, with its members and wrap-up codes."""

    kind = "routing_queue"
    label = "queue"
    delete_limit_s = 120.0
    fields = (
        required("name"),
        settled("division_id"),
        optional("description"),
        *(_medium_blocks(medium) for medium in _MEDIA),
        defaulted("acw_wrapup_prompt", Text(), "MANDATORY_TIMEOUT"),
        settled("acw_timeout_ms", NUMBER),
        defaulted("skill_evaluation_method", Text(), "ALL"),
        optional("queue_flow_id"),
        defaulted("auto_answer_only", FLAG, default=True),
        defaulted("enable_transcription", FLAG, default=False),
        defaulted("enable_audio_monitoring", FLAG, default=False),
        defaulted("enable_manual_assignment", FLAG, default=False),
        optional("calling_party_name"),
        optional("calling_party_number"),
        *(optional(name, Texts()) for name in _GROUPS),
        settled("wrapup_codes", Texts()),
        Blocks(
            "members",
            required("user_id"),
            optional("ring_num", NUMBER),
            ordered=False,
            settled=True,
            defaults={"ring_num": 1},
        ),
        *(part.field for part in QUEUE_PARTS),
    )

    def make(self, sdk: Sdk, wanted: State) -> str:
        """See `Managed`."""
        return str(sdk.call("POST", "/routing/queues", _queue(wanted))["id"])

    def finish(self, sdk: Sdk, identifier: str, wanted: State) -> None:
        """See `Managed`."""
        self._set_members(sdk, identifier, wanted.get("members"))
        self._set_codes(sdk, identifier, wanted.get("wrapup_codes"))

    def fetch(self, sdk: Sdk, identifier: str) -> State | None:
        """See `Managed`: the queue is read twice, as the real provider does."""
        path = f"/routing/queues/{identifier}"
        answer = sdk.call("GET", path)
        codes = [code["id"] for code in pages(sdk, path + "/wrapupcodes", size=100)]
        members = _members(sdk, path)
        return {**_queue_state(answer), "wrapup_codes": codes, "members": members}

    def alter(self, sdk: Sdk, identifier: str, current: State, wanted: State) -> None:
        """See `Managed`."""
        path = f"/routing/queues/{identifier}"
        sdk.call("GET", path)
        sdk.call("PUT", path, _queue(wanted))
        if wanted["division_id"] != current["division_id"]:
            sdk.call("POST", f"/authorization/divisions/{wanted['division_id']}/objects/QUEUE", [identifier])
        self._set_members(sdk, identifier, wanted.get("members"))
        self._set_codes(sdk, identifier, wanted.get("wrapup_codes"))

    def erase(self, sdk: Sdk, identifier: str) -> None:
        """See `Managed`."""
        sdk.call("DELETE", f"/routing/queues/{identifier}", query={"forceDelete": "true"})
        self.session.pace.wait(DELETE_WAIT_S)

    def _set_members(self, sdk: Sdk, identifier: str, wanted: Any) -> None:
        path = f"/routing/queues/{identifier}"
        members = self.retried(lambda: _members(sdk, path), 404)  # reads of a fresh queue may be late
        present = {member["user_id"]: member["ring_num"] for member in members}
        if not isinstance(wanted, list):
            return
        rings = {member["user_id"]: member["ring_num"] or 1 for member in wanted}
        for batch in _batches([user for user in present if user not in rings]):
            sdk.call("POST", path + "/members", batch, query={"delete": "true"})
        added = [user for user in rings if user not in present]
        if added:
            self.session.pace.wait(MEMBER_WAIT_S)
            sdk.call("GET", path + "/members", query={"pageSize": "100", "pageNumber": "1", "memberBy": "group"})
        for batch in _batches(added):
            sdk.call("POST", path + "/members", batch, query={"delete": "false"})
        for user, ring in rings.items():
            if ring != present.get(user, 1):
                sdk.call("PATCH", f"{path}/members/{user}", {"id": user, "ringNumber": ring})

    def _set_codes(self, sdk: Sdk, identifier: str, wanted: Any) -> None:
        if not isinstance(wanted, list):
            return
        path = f"/routing/queues/{identifier}/wrapupcodes"
        present = {code["id"] for code in pages(sdk, path, size=100)}
        for code in sorted(present - set(wanted)):
            sdk.call("DELETE", f"{path}/{code}")
        for batch in _batches([code for code in wanted if code not in present]):
            sdk.call("POST", path, batch)


class SkillLookup(Lookup):
    """`data.genesyscloud_routing_skill`."""

    kind = "routing_skill"
    label = "skill"
    path = "/routing/skills"


class LanguageLookup(Lookup):
    """`data.genesyscloud_routing_language`."""

    kind = "routing_language"
    label = "language"
    path = "/routing/languages"


class WrapupCodeLookup(Lookup):
    """`data.genesyscloud_routing_wrapupcode`."""

    kind = "routing_wrapupcode"
    label = "wrap-up code"
    path = "/routing/wrapupcodes"


class QueueLookup(Lookup):
    """`data.genesyscloud_routing_queue`."""

    kind = "routing_queue"
    label = "queue"
    path = "/routing/queues"


def known(value: Any) -> Any:
    """Return a configured value, None when it is absent or left to the API."""
    return value if isinstance(value, str | int | float | list | dict) else None


def division_body(wanted: State) -> dict[str, Any]:
    """Return the `division` field, empty when the API shall choose."""
    identifier = known(wanted.get("division_id"))
    return {"division": {"id": identifier}} if identifier else {}


def _code(wanted: State) -> dict[str, Any]:
    return {"name": wanted["name"], "description": wanted.get("description") or "", **division_body(wanted)}


def _queue(wanted: State) -> dict[str, Any]:
    media = {medium: _medium(wanted.get(f"media_settings_{medium}")) for medium in _MEDIA}
    flow = known(wanted.get("queue_flow_id"))
    timeout = known(wanted.get("acw_timeout_ms"))
    return {
        "name": wanted["name"],
        "description": wanted.get("description") or "",
        **division_body(wanted),
        "mediaSettings": {medium: settings for medium, settings in media.items() if settings is not None},
        "acwSettings": {
            "wrapupPrompt": wanted["acw_wrapup_prompt"],
            **({} if timeout is None else {"timeoutMs": timeout}),
        },
        "skillEvaluationMethod": wanted["skill_evaluation_method"],
        "autoAnswerOnly": wanted["auto_answer_only"],
        "enableTranscription": wanted["enable_transcription"],
        "enableAudioMonitoring": wanted["enable_audio_monitoring"],
        "enableManualAssignment": wanted["enable_manual_assignment"],
        "callingPartyName": wanted.get("calling_party_name") or "",
        "callingPartyNumber": wanted.get("calling_party_number") or "",
        "memberGroups": [
            {"id": group, "type": kind} for name, kind in _GROUPS.items() for group in known(wanted.get(name)) or []
        ],
        **({"queueFlow": {"id": flow}} if flow else {}),
        **bodies(QUEUE_PARTS, wanted),
    }


def _medium(settings: Any) -> dict[str, Any] | None:
    if not isinstance(settings, list) or not settings:
        return None
    given = settings[0]
    level = {"percentage": given["service_level_percentage"], "durationMs": given["service_level_duration_ms"]}
    answers = given.get("enable_auto_answer")
    return {
        **({} if answers is None else {"enableAutoAnswer": answers}),
        "alertingTimeoutSeconds": given["alerting_timeout_sec"],
        "serviceLevel": {name: value for name, value in level.items() if value is not None},
    }


def _queue_state(answer: dict[str, Any]) -> State:
    media = answer["mediaSettings"]
    acw = answer["acwSettings"]
    return {
        "name": answer["name"],
        "division_id": answer["division"]["id"],
        "description": answer.get("description"),
        **{f"media_settings_{medium}": [_medium_state(media[medium])] for medium in _MEDIA},
        "acw_wrapup_prompt": acw["wrapupPrompt"],
        "acw_timeout_ms": acw.get("timeoutMs"),
        "skill_evaluation_method": answer["skillEvaluationMethod"],
        "queue_flow_id": (answer.get("queueFlow") or {}).get("id"),
        "auto_answer_only": answer.get("autoAnswerOnly", True),
        "enable_transcription": answer.get("enableTranscription", False),
        "enable_audio_monitoring": answer.get("enableAudioMonitoring", False),
        "enable_manual_assignment": answer.get("enableManualAssignment", False),
        "calling_party_name": answer.get("callingPartyName"),
        "calling_party_number": answer.get("callingPartyNumber"),
        **{
            name: [group["id"] for group in answer.get("memberGroups") or [] if group["type"] == kind]
            for name, kind in _GROUPS.items()
        },
        **states(QUEUE_PARTS, answer),
    }


def _medium_state(settings: dict[str, Any]) -> State:
    return {
        "alerting_timeout_sec": settings["alertingTimeoutSeconds"],
        "service_level_percentage": settings["serviceLevel"]["percentage"],
        "service_level_duration_ms": settings["serviceLevel"]["durationMs"],
        "enable_auto_answer": settings.get("enableAutoAnswer"),
    }


def _members(sdk: Sdk, path: str) -> list[State]:
    if "memberCount" not in sdk.call("GET", path):
        return []
    entities = pages(sdk, path + "/members", size=100, memberBy="user")
    return [{"user_id": member["id"], "ring_num": member["ringNumber"]} for member in entities]


def _batches(identifiers: Iterable[str]) -> list[list[dict[str, str]]]:
    items = [{"id": identifier} for identifier in identifiers]
    return [items[start : start + MEMBERS_PER_CALL] for start in range(0, len(items), MEMBERS_PER_CALL)]
