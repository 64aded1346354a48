from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from interlock.secrecy import gather_secrets, sounds_secret
from interlock.state import (
    MASK,
    attribute_changes,
    diff_documents,
    masked_attributes,
    masked_document,
    masked_output,
)
from interlock.state.redact import mask, sensitive_paths

Make = Callable[..., Any]


def _instance(attributes: dict[str, Any], marks: Any = ()) -> Raw:
    return Raw(msgspec.json.encode({"attributes": attributes, "sensitive_attributes": marks}))


def _attributes(document: Any, place: int) -> Any:
    shown: Any = masked_document(document)
    return shown["instances"][place]["attributes"]


@pytest.mark.parametrize(
    "name",
    ["password", "client_secret", "clientSecret", "api_key", "apiKey", "access_token", "private_key_pem", "TOKEN"],
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert sounds_secret(name)


@pytest.mark.parametrize("name", ["name", "token_url", "secretary", "key", "keyboard", "division_id", "authorized"])
def test_ordinary_names_are_shown(name: str) -> None:
    assert not sounds_secret(name)


def test_marked_paths_are_masked_with_everything_below() -> None:
    marks = [
        [{"type": "get_attr", "value": "login"}],
        [{"type": "get_attr", "value": "rows"}, {"type": "index", "value": {"value": 1, "type": "number"}}],
        [{"type": "get_attr", "value": "map"}, {"type": "index", "value": {"value": "k", "type": "string"}}],
    ]
    attributes = {"login": {"a": 1}, "rows": [1, 2], "map": {"k": 1, "j": 2}, "empty": None, "n": 1.5}
    assert masked_attributes(_instance(attributes, marks)) == {
        "login": MASK,
        "rows": [1, MASK],
        "map": {"k": MASK, "j": 2},
        "empty": None,
        "n": 1.5,
    }


def test_a_mark_below_an_attribute_of_dynamic_type_is_found() -> None:
    marks = [[{"type": "get_attr", "value": "input"}, {"type": "index", "value": {"value": 0, "type": "number"}}]]
    attributes = {"input": {"value": ["hush", "shown"], "type": ["tuple", ["string", "string"]]}}
    shown = masked_attributes(_instance(attributes, marks))
    assert shown == {"input": {"value": [MASK, "shown"], "type": ["tuple", ["string", "string"]]}}


def test_a_copy_of_a_marked_text_is_masked_too() -> None:
    marks = [[{"type": "get_attr", "value": "input"}]]
    attributes = {"input": {"value": "hush-hush", "type": "string"}, "output": {"value": "hush-hush", "type": "string"}}
    shown = masked_attributes(_instance(attributes, marks))
    assert shown == {"input": MASK, "output": {"value": MASK, "type": "string"}}


def test_secret_names_are_masked_without_a_mark() -> None:
    assert masked_attributes(_instance({"a": [{"password": "x", "user": "u"}]})) == {
        "a": [{"password": MASK, "user": "u"}]
    }


@pytest.mark.parametrize("marks", [[[{"type": "get_attr"}]], 7, [["x"]], [[{"value": {"value": [1]}}]]])
def test_marks_that_cannot_be_read_hide_the_instance(marks: Any) -> None:
    assert masked_attributes(_instance({"a": 1}, marks)) == MASK


def test_unreadable_attributes_are_hidden() -> None:
    assert masked_attributes(Raw(b'{"attributes": {"a": 1e}}')) == MASK


def test_sensitive_outputs_are_masked() -> None:
    assert masked_output("x", Raw(b'{"value": "v", "type": "string", "sensitive": true}')) == MASK
    assert masked_output("api_key", Raw(b'{"value": "v", "type": "string"}')) == MASK
    assert masked_output("x", Raw(b'{"value": {"password": "v", "n": 1}}')) == {"password": MASK, "n": 1}
    assert masked_output("x", Raw(b"[]")) == MASK


def test_a_number_that_a_float_would_round_stays_exact() -> None:
    raw = Raw(b'{"attributes": {"a": 0.1234567890123456789, "b": 1.10, "c": 100000000000000000000001}}')
    shown = masked_attributes(raw)
    assert shown == {"a": "0.1234567890123456789", "b": 1.1, "c": 100000000000000000000001}


def test_a_shown_document_holds_no_secret(document: Make, resource: Make, instance: Make) -> None:
    made = document(
        resource("t", "a", instance({"password": "hunter2", "id": "1"}, "k", deposed="0000000a")),
        outputs={"token": {"value": "hunter2", "type": "string"}},
    )
    shown = masked_document(made)
    assert "hunter2" not in repr(shown)
    assert shown["instances"] == [
        {"address": 't.a["k"]', "deposed": "0000000a", "attributes": {"password": MASK, "id": "1"}}
    ]


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("random_password", {"result": "Xk29-fjw0!"}),
        ("azurerm_kubernetes_cluster", {"kube_config_raw": "Xk29-fjw0!"}),
        ("aws_secretsmanager_secret_version", {"secret_string": "Xk29-fjw0!"}),
        ("github_actions_secret", {"plaintext_value": "Xk29-fjw0!"}),
        ("genesyscloud_integration_credential", {"fields": {"userName": "Xk29-fjw0!"}}),
        ("genesyscloud_integration_action", {"config_request": [{"headers": {"X-Api-Key": "Xk29-fjw0!"}}]}),
        ("x_y", {"url": "postgres://user:Xk29-fjw0!@db/x"}),
        ("x_y", {"kubeconfig": "users:\n- user:\n    token: Xk29-fjw0!\n"}),
        ("x_y", {"pem": "-----BEGIN RSA PRIVATE KEY-----\nXk29-fjw0!\n-----END RSA PRIVATE KEY-----"}),
        ("x_y", {"environment": [{"name": "DB_PASSWORD", "value": "Xk29-fjw0!"}]}),
    ],
)
def test_a_state_of_an_older_terraform_shows_no_secret_though_it_marks_none(
    document: Make, resource: Make, instance: Make, kind: str, attributes: dict[str, Any]
) -> None:
    shown = masked_document(document(resource(kind, "a", instance({"id": "1", **attributes}, None))))
    assert "Xk29" not in repr(shown)
    assert "'id': '1'" in repr(shown)


@pytest.mark.promise("P10")
def test_a_short_or_everyday_secret_does_not_blank_the_page(document: Make, resource: Make, instance: Make) -> None:
    made = document(
        resource("t", "a", instance({"password": "1", "token": "enabled"}, None)),
        resource("t", "b", instance({"count": 1, "mode": "enabled"}, None)),
    )
    assert _attributes(made, 1) == {"count": 1, "mode": "enabled"}


def test_ids_of_credentials_are_not_hunted(document: Make, resource: Make, instance: Make) -> None:
    name = "5b5a2d6e-8f6f-4d5a-9d1e-0c6a6f1e2d3c"
    made = document(
        resource("genesyscloud_integration", "a", instance({"credentials": {"basicAuth": name}}, None)),
        resource("genesyscloud_integration_credential", "b", instance({"id": name}, None)),
    )
    assert _attributes(made, 1) == {"id": name}


@pytest.mark.promise("P10")
def test_the_value_beside_a_secret_name_is_hidden_in_a_difference_too_however_short(
    document: Make, resource: Make, instance: Make
) -> None:
    def with_header(value: object) -> Any:
        return document(resource("t", "a", instance({"headers": [{"name": "X-Api-Key", "value": value}]}, None)))

    (change,) = diff_documents(with_header("abc"), with_header({"x": "abd"})).objects
    rows = attribute_changes(change)
    assert rows
    assert all(row.sensitive for row in rows)
    assert "abc" not in repr(rows)
    assert "abd" not in repr(rows)


_LEAVES = st.sampled_from(
    ["hidden-text", "a hidden-text b", "x", "https://u:pw@h/", 'q"uote', 1, 7531902, 1.5, True, None]
)
_NAMES = st.sampled_from(["a", "password", "value", "name", "id", "hidden-text", "a\\b"])
_VALUES = st.recursive(_LEAVES, lambda below: st.lists(below, max_size=3) | st.dictionaries(_NAMES, below, max_size=3))


@pytest.mark.promise("P10")
@given(_VALUES, st.sampled_from([(), (("a",),), (("a", 0),), (("a", "b"),), ((),)]))
def test_what_is_passed_over_quickly_is_what_has_nothing_to_hide(value: Any, marked: tuple[Any, ...]) -> None:
    secrets = gather_secrets(["hidden-text", "7531902"])
    marks = [
        [
            {"type": "get_attr", "value": step} if isinstance(step, str) else {"type": "index", "value": step}
            for step in mark
        ]
        for mark in marked
    ]
    instance = _instance({"a": value}, marks)
    shown = masked_attributes(instance, "", secrets)
    assert shown == mask({"a": value}, sensitive_paths(instance), secrets=secrets)
    assert "hidden-text" not in repr(shown)
    assert "7531902" not in repr(shown)
