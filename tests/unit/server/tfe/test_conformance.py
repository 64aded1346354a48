"""What we answer, held against HashiCorp's own OpenAPI document of the API, which go-tfe has (v2/openapi/spec.json).

The document is not ours to ship, so it is read from outside the repository: `INTERLOCK_TEST_TFE_OPENAPI=spec.json`.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from tests.cloud_api import STATE, CloudServer, state, terraform

from interlock.testing.asking import Answered

SPEC = os.environ.get("INTERLOCK_TEST_TFE_OPENAPI", "")
pytestmark = pytest.mark.skipif(not SPEC, reason="INTERLOCK_TEST_TFE_OPENAPI names no OpenAPI document of the TFE API")


def _schema_of(document: dict[str, Any], method: str, path: str, status: int) -> Any:
    for pattern, item in document["paths"].items():
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", pattern), path) and method.lower() in item:
            answers = item[method.lower()]["responses"]
            told: Any = answers.get(str(status)) or pytest.fail(
                f"{method} {pattern} answers {sorted(answers)}, not {status}"
            )
            if "$ref" in told:
                told = document["components"]["responses"][told["$ref"].rpartition("/")[2]]
            content = list(told.get("content", {}).values())
            return content[0].get("schema") if content else None
    return pytest.fail(f"{method} {path} is not in the document")


def _plain(schema: Any) -> Any:
    """Return a schema of OpenAPI 3.0 as JSON Schema has it: what is nullable may be null."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        name: _plain(value) for name, value in schema.items() if name not in {"nullable", "example", "discriminator"}
    }
    return {"anyOf": [made, {"type": "null"}]} if schema.get("nullable") else made


async def test_every_answer_has_the_form_that_the_api_is_documented_to_have(tmp_path: Path) -> None:
    import jsonschema  # type: ignore[import-untyped]  # what check-jsonschema brings along

    document = json.loads(Path(SPEC).read_text())
    components = _plain(document["components"])
    server = CloudServer(tmp_path)
    mine = await terraform(server)
    wrong: list[str] = []

    def check(method: str, path: str, told: Answered) -> None:
        schema = _schema_of(document, method, f"/{path}", told.status)
        if schema is None or not told.body:
            return
        validator = jsonschema.Draft202012Validator({**_plain(schema), "components": components})
        for fault in validator.iter_errors(told.json()):
            place = "/".join(map(str, fault.absolute_path))
            wrong.append(f"{method} {path} {told.status}: {place}: {fault.message[:300]}")

    async def ask(method: str, path: str, **more: Any) -> Answered:
        told = await mine.ask(method, path, **more)
        check(method, path.partition("?")[0], told)
        return told

    named = "organizations/acme/workspaces"
    made = {"data": {"type": "workspaces", "attributes": {"name": "new"}}}
    await ask("POST", named, sends=made)
    await ask("GET", f"{named}/app")
    await ask("GET", named)
    await ask("GET", f"workspaces/{mine.id}")
    await ask("GET", "account/details")
    await ask("POST", f"workspaces/{mine.id}/actions/unlock")
    sent = mine.send_lock()
    await sent.task
    check("POST", f"workspaces/{mine.id}/actions/lock", sent.answered)
    body = state(
        1, "a", outputs={"o": {"value": "x", "type": "string"}, "m": {"value": [1], "type": ["list", "number"]}}
    )
    told = await mine.announce(body)
    check("POST", f"workspaces/{mine.id}/state-versions", told)
    await mine.put(told, body)
    await ask("GET", f"state-versions/{told.json()['data']['id']}")
    await ask("GET", f"workspaces/{mine.id}/current-state-version")
    await ask("GET", "state-versions?filter%5Borganization%5D%5Bname%5D=acme&filter%5Bworkspace%5D%5Bname%5D=app")
    outputs = await ask("GET", f"workspaces/{mine.id}/current-state-version-outputs")
    await ask("GET", f"state-version-outputs/{outputs.json()['data'][0]['id']}")
    await ask("GET", f"workspaces/{mine.id}/effective-tag-bindings")
    await ask("POST", f"workspaces/{mine.id}/actions/unlock")
    await ask("DELETE", f"{named}/new")
    assert wrong == [], "\n".join(wrong)
    assert (await server.view(STATE)).head is not None
