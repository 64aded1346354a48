"""One state full of secrets that nothing marks, and every command that shows something of a state."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from tests.desk import Desk

pytestmark = pytest.mark.e2e

SECRET = "Xk29-fjw0!q"
NUMBER = 75319024681
LINEAGE = "5b5a2d6e-8f6f-4d5a-9d1e-0c6a6f1e2d3c"


def _resource(kind: str, attributes: dict[str, Any], marks: Any = None) -> dict[str, Any]:
    return {
        "mode": "managed",
        "type": kind,
        "name": "a",
        "provider": f'provider["registry.terraform.io/x/{kind.partition("_")[0]}"]',
        "instances": [{"schema_version": 0, "attributes": {"id": kind, **attributes}, "sensitive_attributes": marks}],
    }


POISONED: dict[str, Any] = {
    "version": 4,
    "terraform_version": "1.11.4",
    "serial": 1,
    "lineage": LINEAGE,
    "outputs": {"dsn": {"value": f"postgres://u:{SECRET}@db/x", "type": "string"}},
    "resources": [
        _resource(
            "terraform_data",
            {"input": {"value": SECRET, "type": "string"}, "number": NUMBER},
            [[{"type": "get_attr", "value": "input"}], [{"type": "get_attr", "value": "number"}]],
        ),
        _resource("random_password", {"result": SECRET}),
        _resource("aws_secretsmanager_secret_version", {"secret_string": json.dumps({"a": SECRET})}),
        _resource("azurerm_kubernetes_cluster", {"kube_config_raw": f"users:\n- user:\n    token: {SECRET}\n"}),
        _resource("genesyscloud_integration_credential", {"fields": {"userName": SECRET, "n": NUMBER}}),
        _resource("genesyscloud_integration_action", {"config_request": [{"headers": {"X-Api-Key": SECRET}}]}),
        _resource("x_url", {"url": f"https://user:{SECRET}@h/", "env": [{"name": "API_KEY", "value": SECRET}]}),
        _resource("x_copy", {"text": f"say {SECRET} twice", "list": [f"{NUMBER}"], "count": NUMBER}),
    ],
    "check_results": None,
}
VIEWS = (
    ("state", "show", "s"),
    ("state", "diff", "s"),
    ("state", "verify", "s"),
    ("state", "history", "s"),
    ("state", "restore", "s", "--version", "1", "--dry-run"),
    ("state", "repair", "s", "--dry-run"),
    ("recover", "s", "--dry-run"),
    ("status", "s"),
)


@pytest.mark.promise("P10")
def test_no_view_of_a_state_shows_a_secret_of_it(desk: Desk) -> None:
    changed = copy.deepcopy(POISONED)
    changed["serial"] = 2
    changed = json.loads(json.dumps(changed).replace("https://user", "https://other").replace("say", "tell"))
    del changed["resources"][-2]
    for number, document in enumerate((POISONED, changed)):
        file = desk.folder / f"{number}.tfstate"
        file.write_text(json.dumps(document))
        assert desk.run("state", "push", file, "--state", "s").code == 0
    for words in VIEWS:
        for form in ((), ("--json",)):
            said = desk.run(*words, *form)
            shown = said.out + said.err
            assert "Traceback" not in shown, said
            assert "No such option" not in shown, said
            assert "Xk29" not in shown, words
            assert str(NUMBER) not in shown, words
    assert "say (sensitive) twice" in desk.run("state", "show", "s", "--version", "1", "--json").out
