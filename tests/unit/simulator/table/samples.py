"""A body for each row of the table, and the objects that it must name first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from interlock.simulator.field import Field, Form
from interlock.simulator.row import Row
from interlock.simulator.table import ROWS

BY_KIND = {row.kind: row for row in ROWS}

_PLAIN: dict[Form, Any] = {
    Form.TEXT: "a text",
    Form.FLAG: True,
    Form.WHOLE: 3,
    Form.NUMBER: 2.5,
    Form.LIST: [{"id": "part", "name": "part"}],
    Form.OBJECT: {"some": "thing"},
    Form.ANY: {"some": "thing"},
}

# What a kind takes besides what its fields say: plain ids in texts, shapes of the parts.
_OWN: dict[str, dict[str, Any]] = {
    "oauthclient": {"roleDivisions": [], "authorizedGrantType": "CODE"},
    "emaildomain": {"id": "example"},
    "site": {"location": {"id": "<location>"}, "mediaRegions": ["eu-central-1"]},
    "edge": {"edgeGroup": {"id": "<edgegroup>"}},
    "edgegroup": {"edgeTrunkBaseAssignment": {"trunkBase": {"id": "<trunkbase>"}}},
    "phone": {"phoneBaseSettings": {"id": "<phonebase>"}},
    "didpool": {"startPhoneNumber": "+13175550100", "endPhoneNumber": "+13175550199"},
    "extensionpool": {"startNumber": "2000", "endNumber": "2099"},
    "integration": {"integrationType": {"id": "custom-rest-actions"}},
    "action": {"integrationId": "<integration>", "contract": {"input": {}, "output": {}}},
    "knowledgecategory": {"parentCategoryId": ""},
    "knowledgedocument": {"categoryId": "", "labelIds": []},
    "webdeployment": {"configuration": {"id": "<webconfiguration>", "version": "1"}, "status": "Active"},
    "worktype": {
        "defaultWorkbinId": "<workbin>",
        "defaultQueueId": "<queue>",
        "defaultLanguageId": "",
        "defaultScriptId": "",
        "schemaId": "<workitemschema>",
        "defaultStatusId": "",
        "defaultSkillIds": [],
    },
    "campaign": {"campaignStatus": "off"},
    "messagingcampaign": {"campaignStatus": "off"},
}


class Samples:
    """Makes bodies, and the objects that they name, each once.

    Args:
        api: The organisation.
    """

    def __init__(self, api: Any) -> None:
        self._api = api
        self._made: dict[str, str] = {}

    def body(self, row: Row) -> dict[str, Any]:
        """Return everything that an object of the kind can be sent."""
        own = _OWN.get(row.kind, {})
        sent = {
            name: self._value(field)
            for name, field in row.fields.items()
            if name not in own and not (field.read_only or (field.once and field.secret))
        }
        return {**sent, **{name: self._named(value) for name, value in own.items()}}

    def least(self, row: Row) -> dict[str, Any]:
        """Return only what an object of the kind must be sent."""
        needed = {name for name, field in row.fields.items() if field.needed} | {row.own_id}
        own = _OWN.get(row.kind, {})
        return {
            name: self._named(own[name]) if name in own else self._value(row.fields[name])
            for name in needed
            if name in own or name in row.fields
        }

    def path(self, row: Row) -> str:
        """Return the path of the collection with its parent's id in it."""
        parts = [self.one(row.parent) if part.startswith("{") else part for part in row.path.split("/")]
        return "/".join(parts)

    def one(self, kind: str) -> str:
        """Return the id of an object of the kind, made when first asked for."""
        if kind not in self._made:
            self._made[kind] = self._make(kind)
        return self._made[kind]

    def _make(self, kind: str) -> str:
        others: dict[str, Callable[[], Any]] = {
            "queue": lambda: self._api.queue("Named queue"),
            "user": lambda: self._api.user("named@example.com"),
            "skill": lambda: self._api.skill("Named skill"),
            "language": lambda: self._api.post("/routing/languages", {"name": "Named language"})["id"],
            "flow": lambda: "",
            "division": lambda: self._api.post("/authorization/divisions", {"name": "Named division"})["id"],
        }
        if kind in others:
            return str(others[kind]())
        row = BY_KIND[kind]
        return str(self._api.post(self.path(row), self.body(row))["id"])

    def _value(self, field: Field) -> Any:
        if field.allowed:
            return field.allowed[0]
        match field.form:
            case Form.REFERENCE:
                return {"id": self.one(field.kind) if field.kind else "anything"}
            case Form.REFERENCES:
                return [{"id": self.one(field.kind)}] if field.kind and field.kind != "site" else []
            case Form.DIVISION:
                return {"id": self.one("division")}
        return _PLAIN[field.form]

    def _named(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("<"):
            return self.one(value.strip("<>"))
        return {name: self._named(item) for name, item in value.items()} if isinstance(value, dict) else value
