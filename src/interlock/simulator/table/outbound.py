"""Outbound dialling: contact lists, campaigns and what they need. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.simulator.answer import Json, Moment, Reply, bad_request, conflict
from interlock.simulator.call import Call
from interlock.simulator.collection import Declared
from interlock.simulator.field import (
    DIVISION,
    FLAG,
    LIST,
    NAME,
    NUMBER,
    OBJECT,
    TEXT,
    WHOLE,
    Field,
    choice,
    fields,
    given,
    held,
    held_all,
    needed,
    once,
    refers,
    secret,
    usual,
)
from interlock.simulator.org import INBORN, Kind, Organisation, Record
from interlock.simulator.routes import Route
from interlock.simulator.row import PARENT, Row, Versioning, children

MAX_CONTACTS_PER_CALL = 1000
MAX_NUMBERS_PER_CALL = 1000

_RUNNING = ("on", "complete", "stopping")
_READY = {"state": "NONE", "totalRecords": 0, "completedRecords": 0, "percentComplete": 0}


def _row(kind: str, entity: str, path: str, subject: str, declared: Mapping[str, Field], **more: object) -> Row:
    """Return a row of this room: all of them have versions that a write must name."""
    usual_things: dict[str, object] = {"versioning": Versioning.NEEDED, "deleted": 204, **more}
    return Row(
        kind=kind,
        entity=entity,
        service="Outbound",
        path="/outbound/" + path,
        permission="outbound:" + subject,
        fields={"name": NAME, **declared},
        **usual_things,  # type: ignore[arg-type]  # the keywords of Row, checked by the test of the table
    )


def _campaign_shape(_call: Call, body: Json, current: Json | None) -> Json:
    """A campaign is born off; the status follows what is written."""
    status = body.get("campaignStatus") or (current or {}).get("campaignStatus") or "off"
    return {**body, "campaignStatus": status}


def _guard_running(_call: Call, record: Record) -> None:
    if record.body.get("campaignStatus") in _RUNNING:
        raise bad_request("The campaign must be off before it is deleted", "campaign.not.off")


def _sequence_shape(_call: Call, body: Json, current: Json | None) -> Json:
    return {**body, "currentCampaign": 0, "status": body.get("status") or (current or {}).get("status") or "off"}


def _list_view(call: Call, record: Record, view: Json) -> Json:
    return {**view, "size": sum(1 for _ in children(call.org, "contact", record.id)), "importStatus": _READY}


def _dnc_view(_call: Call, record: Record, view: Json) -> Json:
    return {**view, "size": len(record.body["numbers"]), "importStatus": _READY}


def _dnc_shape(_call: Call, body: Json, current: Json | None) -> Json:
    """The source of a list decides which fields it needs, and can never change."""
    needs_login = current is None and body["dncSourceType"] in {"dnc.com", "gryphon"}
    if needs_login and not (body.get("loginId") or body.get("licenseId")):
        raise bad_request("A list of this source needs its login or licence", "invalid.value")
    return body


def _contact_view(_call: Call, record: Record, view: Json) -> Json:
    return {**view, "contactListId": record.body[PARENT]}


COLUMNS = {
    "columnNames": needed(LIST),
    **fields(LIST, "phoneColumns emailColumns whatsAppColumns previewModeAcceptedValues columnDataTypeSpecifications"),
    **fields(TEXT, "previewModeColumnName zipCodeColumnName"),
    "attemptLimits": held("attemptlimit"),
    "automaticTimeZoneMapping": usual(FLAG, False),
    "trimWhitespace": usual(FLAG, True),
}
CONTACT_LISTS = _row(
    "contactlist",
    "ContactList",
    "contactlists",
    "contactList",
    {**COLUMNS, "division": DIVISION},
    view=_list_view,
)
CONTACTS = Row(
    kind="contact",
    entity="Contact",
    service="Outbound",
    path="/outbound/contactlists/{list}/contacts",
    permission="outbound:contact",
    operations="RUD",
    fields={
        "data": needed(OBJECT),
        "callable": usual(FLAG, True),
        **fields(OBJECT, "phoneNumberStatus contactableStatus callRecords latestSmsEvaluations"),
    },
    parent="contactlist",
    unique="",
    stamps=("", ""),
    view=_contact_view,
)
TEMPLATES = _row("contactlisttemplate", "ContactListTemplate", "contactlisttemplates", "contactListTemplate", COLUMNS)
FILTERS = _row(
    "contactlistfilter",
    "ContactListFilter",
    "contactlistfilters",
    "contactListFilter",
    {
        "contactList": held("contactlist"),
        "contactListTemplate": held("contactlisttemplate"),
        "sourceType": choice("ContactList", "ContactListTemplate"),
        "clauses": LIST,
        "filterType": usual(TEXT, "AND"),
    },
)
ATTEMPT_LIMITS = _row(
    "attemptlimit",
    "AttemptLimits",
    "attemptlimits",
    "attemptLimits",
    {
        **fields(WHOLE, "maxAttemptsPerContact maxAttemptsPerNumber"),
        "timeZoneId": TEXT,
        "resetPeriod": choice("NEVER", "TODAY"),
        "recallEntries": OBJECT,
    },
)
TIME_SETS = _row(
    "callabletimeset", "CallableTimeSet", "callabletimesets", "callableTimeSet", {"callableTimes": needed(LIST)}
)
RESPONSE_SETS = _row(
    "responseset",
    "CallAnalysisResponseSet",
    "callanalysisresponsesets",
    "responseSet",
    {
        "responses": OBJECT,
        "beepDetectionEnabled": usual(FLAG, False),
        "amdSpeechDistinguishEnabled": usual(FLAG, False),
        "liveSpeakerDetectionMode": TEXT,
    },
)
RULE_SETS = _row(
    "ruleset",
    "RuleSet",
    "rulesets",
    "ruleSet",
    {"contactList": held("contactlist"), "queue": held("queue"), "rules": usual(LIST, [])},
)
DIGITAL_RULE_SETS = _row(
    "digitalruleset",
    "DigitalRuleSet",
    "digitalrulesets",
    "digitalRuleSet",
    {"contactList": held("contactlist"), "rules": usual(LIST, [])},
)
DNC_LISTS = _row(
    "dnclist",
    "DncList",
    "dnclists",
    "dncList",
    {
        "division": DIVISION,
        "dncSourceType": once(choice("rds", "rds_custom", "dnc.com", "gryphon")),
        "contactMethod": once(TEXT),
        **fields(TEXT, "loginId campaignId licenseId customExclusionColumn"),
        "dncCodes": LIST,
        "numbers": secret(once(usual(LIST, []))),
    },
    shape=_dnc_shape,
    view=_dnc_view,
)
CAMPAIGNS = _row(
    "campaign",
    "Campaign",
    "campaigns",
    "campaign",
    {
        "contactList": needed(held("contactlist")),
        "queue": held("queue"),
        "dialingMode": NAME,
        "script": refers(),
        "edgeGroup": held("edgegroup"),
        "site": held("site"),
        "campaignStatus": TEXT,
        "phoneColumns": LIST,
        "abandonRate": NUMBER,
        "dncLists": held_all("dnclist"),
        "callableTimeSet": held("callabletimeset"),
        "callAnalysisResponseSet": held("responseset"),
        **fields(TEXT, "callerName callerAddress callAnalysisLanguage agentOwnedColumn"),
        **fields(WHOLE, "outboundLineCount previewTimeOutSeconds noAnswerTimeout maxCallsPerAgent"),
        "priority": usual(WHOLE, 5),
        "maxCallsPerAgentDecimal": NUMBER,
        "ruleSets": held_all("ruleset"),
        **fields(FLAG, "skipPreviewDisabled callbackAutoAnswer"),
        "alwaysRunning": usual(FLAG, False),
        **fields(OBJECT, "contactSort dynamicContactQueueingSettings dynamicLineBalancingSettings diagnosticsSettings"),
        "contactSorts": LIST,
        "contactListFilters": held_all("contactlistfilter"),
        "division": DIVISION,
        "skillColumns": LIST,
        "errors": given([]),
    },
    shape=_campaign_shape,
    guard=_guard_running,
    deleted=200,
)
MESSAGING_CAMPAIGNS = _row(
    "messagingcampaign",
    "MessagingCampaign",
    "messagingcampaigns",
    "messagingCampaign",
    {
        "division": DIVISION,
        "campaignStatus": TEXT,
        "callableTimeSet": held("callabletimeset"),
        "contactList": needed(held("contactlist")),
        "dncLists": held_all("dnclist"),
        "alwaysRunning": usual(FLAG, False),
        "contactSorts": LIST,
        "messagesPerMinute": WHOLE,
        "ruleSets": held_all("digitalruleset"),
        "contactListFilters": held_all("contactlistfilter"),
        **fields(OBJECT, "dynamicContactQueueingSettings emailConfig smsConfig whatsAppConfig"),
        "errors": given([]),
    },
    shape=_campaign_shape,
    guard=_guard_running,
    deleted=200,
)
SEQUENCES = _row(
    "campaignsequence",
    "Sequence",
    "sequences",
    "campaignSequence",
    {"campaigns": needed(held_all("campaign")), "status": TEXT, "repeat": usual(FLAG, False)},
    shape=_sequence_shape,
)
CAMPAIGN_RULES = _row(
    "campaignrule",
    "CampaignRule",
    "campaignrules",
    "campaignRule",
    {
        **fields(OBJECT, "campaignRuleEntities executionSettings"),
        **fields(LIST, "campaignRuleConditions campaignRuleActions conditionGroups"),
        "matchAnyConditions": usual(FLAG, False),
        "enabled": usual(FLAG, False),
        "campaignRuleProcessing": TEXT,
    },
)
FILE_TEMPLATES = _row(
    "filespecificationtemplate",
    "FileSpecificationTemplate",
    "filespecificationtemplates",
    "fileSpecificationTemplate",
    {
        **fields(TEXT, "description format delimiter delimiterValue"),
        **fields(WHOLE, "numberOfHeadingLinesSkipped numberOfTrailingLinesSkipped"),
        "header": FLAG,
        **fields(LIST, "columnInformation preprocessingRules"),
    },
)
KINDS = (
    Kind(name="outboundsettings", entity="Settings", service="Outbound"),
    Kind(name="wrapupcodemappings", entity="WrapUpCodeMapping", service="Outbound"),
)
ROWS = (
    CONTACT_LISTS,
    CONTACTS,
    TEMPLATES,
    FILTERS,
    ATTEMPT_LIMITS,
    TIME_SETS,
    RESPONSE_SETS,
    RULE_SETS,
    DIGITAL_RULE_SETS,
    DNC_LISTS,
    CAMPAIGNS,
    MESSAGING_CAMPAIGNS,
    SEQUENCES,
    CAMPAIGN_RULES,
    FILE_TEMPLATES,
)


def routes(engines: Mapping[str, Declared]) -> list[Route]:
    """Return the routes of contacts, numbers not to call, and the organisation's own settings."""
    contacts = _Contacts(engines["contact"])
    lists = "/outbound/contactlists/{id}"
    edit, view = ("outbound:contact:add",), ("outbound:contact:view",)
    settings = ("outbound:settings:edit",)
    mappings = ("outbound:wrapUpCodeMapping:edit",)
    return [
        Route(method="POST", path=lists + "/contacts", handler=contacts.add, permissions=edit),
        Route(method="POST", path=lists + "/contacts/search", handler=contacts.search, permissions=view),
        Route(method="POST", path=lists + "/clear", handler=contacts.clear, permissions=edit),
        Route(
            method="POST",
            path="/outbound/dnclists/{id}/phonenumbers",
            handler=_add_numbers,
            permissions=("outbound:dnc:add",),
        ),
        Route(method="GET", path="/outbound/settings", handler=_read_settings, permissions=("outbound:settings:view",)),
        Route(method="PATCH", path="/outbound/settings", handler=_patch_settings, permissions=settings),
        Route(
            method="GET",
            path="/outbound/wrapupcodemappings",
            handler=_read_mappings,
            permissions=("outbound:wrapUpCodeMapping:view",),
        ),
        Route(method="PUT", path="/outbound/wrapupcodemappings", handler=_put_mappings, permissions=mappings),
    ]


def found(org: Organisation, moment: Moment) -> None:
    """Create the organisation's own settings."""
    org.add("outboundsettings", {"maxCallsPerAgent": 15, INBORN: True}, moment)
    org.add("wrapupcodemappings", {"defaultSet": [], "mapping": {}, INBORN: True}, moment)


class _Contacts:
    """Contacts come and go by lists."""

    def __init__(self, engine: Declared) -> None:
        self._engine = engine

    def add(self, call: Call) -> Reply:
        items = call.items(MAX_CONTACTS_PER_CALL)
        if not all(isinstance(item, dict) for item in items):
            raise bad_request("Each contact must be an object", "invalid.value")
        return Reply(content=[self._engine.made(call, item) for item in items])

    def search(self, call: Call) -> Reply:
        contact_list = call.get("contactlist", call.params[0])
        contacts = [
            self._engine.shown(call, child, child.body) for child in children(call.org, "contact", contact_list.id)
        ]
        return Reply(
            content={"entities": contacts, "total": len(contacts), "pageCount": 1, "contactsCount": len(contacts)}
        )

    def clear(self, call: Call) -> Reply:
        contact_list = call.get("contactlist", call.params[0])
        for child in tuple(children(call.org, "contact", contact_list.id)):
            call.org.remove(child, call.moment)
        return Reply(status=202)


def _add_numbers(call: Call) -> Reply:
    record = call.get("dnclist", call.params[0])
    if record.body["dncSourceType"] not in {"rds", "rds_custom"}:
        raise conflict("Numbers can be added to lists of this organization alone", "dnc.source")
    body = call.json()
    wanted = body.get("phoneNumbers") if isinstance(body, dict) else body
    if not isinstance(wanted, list) or len(wanted) > MAX_NUMBERS_PER_CALL:
        raise bad_request("The body must name phone numbers", "invalid.value")
    numbers = list(dict.fromkeys([*record.body["numbers"], *(str(number)[:20] for number in wanted)]))
    call.org.change(record, {**record.body, "numbers": numbers}, call.moment)
    return Reply(status=200)


def _only(call: Call, kind: str) -> Record:
    return next(call.org.living(kind))


def _read_settings(call: Call) -> Reply:
    record = _only(call, "outboundsettings")
    return Reply(content={**_visible(record.body), "id": record.id})


def _patch_settings(call: Call) -> Reply:
    record = _only(call, "outboundsettings")
    body = {**record.body, **{name: value for name, value in call.fields().items() if not name.startswith("_")}}
    return Reply(content=_visible(call.org.change(record, body, call.moment).body))


def _read_mappings(call: Call) -> Reply:
    return Reply(content=_visible(_only(call, "wrapupcodemappings").body))


def _put_mappings(call: Call) -> Reply:
    record, body = _only(call, "wrapupcodemappings"), call.fields()
    mapping, default = body.get("mapping") or {}, body.get("defaultSet") or []
    if not isinstance(mapping, dict) or not isinstance(default, list):
        raise bad_request("mapping must be an object, defaultSet a list", "invalid.value")
    changed = call.org.change(record, {**record.body, "mapping": mapping, "defaultSet": default}, call.moment)
    return Reply(content=_visible(changed.body))


def _visible(body: Json) -> Json:
    return {name: value for name, value in body.items() if name != INBORN}
