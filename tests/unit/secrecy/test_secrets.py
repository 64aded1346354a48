"""What may not be shown: the rules for texts of others, the table, and that hostile texts cost linear time."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.secrecy import gather_secrets, hide_quoted, hide_within, may_name_secrets, secret_places, sounds_secret

SECRET = "Xk29-fjw0!q"


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    "line",
    [
        'password = "Xk29-fjw0!q"',
        'password = "with blanks Xk29-fjw0!q',
        "db_password=Xk29-fjw0!q",
        "token: Xk29-fjw0!q",
        r"body: {\"client_secret\":\"Xk29-fjw0!q\",\"a\":1}",
        '{"headers": [{"name": "X-Api-Key", "value": "Xk29-fjw0!q"}]}',
        "X-Api-Key: Xk29-fjw0!q",
        "Authorization: Basic Xk29-fjw0!q",
        "Authorization: Bearer Xk29-fjw0!q",
        "Get https://user:Xk29-fjw0!q@host/path: EOF",
        "password: (Xk29-fjw0!q)",
        "-----BEGIN RSA PRIVATE KEY-----\nXk29-fjw0!q\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_a_line_of_others_is_shown_without_its_secret(line: str) -> None:
    assert "Xk29" not in hide_quoted(line)
    assert "fjw0" not in hide_quoted(line)


def test_a_line_of_a_private_key_is_hidden_where_its_heading_is_on_another_line() -> None:
    assert "MIIE" not in hide_quoted("│ " + "MIIEowIBAAKCAQEA0Z3VS5JJcds3xfn" * 2 + "ABCD")


@pytest.mark.parametrize(
    "line",
    [
        "Error acquiring the state lock",
        "ID: 6f0f1d63-7a3a-4ad8-9d2c-4f6f3b0c0a11",
        "no valid credential sources found",
        'token_url = "https://login.example/oauth"',
        "the secret of good names",
    ],
)
def test_other_lines_are_shown_as_they_are(line: str) -> None:
    assert hide_quoted(line) == line


@given(st.text(alphabet="ab =:\"'\\{}-_.token", max_size=60))
def test_hiding_twice_hides_nothing_more(text: str) -> None:
    once = hide_quoted(f"password={SECRET} {text}")
    assert SECRET not in once
    assert hide_quoted(once) == once


def test_a_structure_is_shown_without_what_is_secret_for_its_place_or_a_copy() -> None:
    secrets = gather_secrets(["hidden-text", "7531902468"])
    shown = hide_within(
        {
            "copy": "a hidden-text b",
            "number": 7531902468,
            "password": "p",
            "rows": [{"name": "X-Api-Key", "value": "abc"}, {"name": "X", "value": "abc"}],
            "secret_string": {"a": 1},
            "flag": True,
            "none": None,
        },
        secrets,
        (("secret_string",),),
    )
    assert shown == {
        "copy": "a (sensitive) b",
        "number": "(sensitive)",
        "password": "(sensitive)",
        "rows": [{"name": "X-Api-Key", "value": "(sensitive)"}, {"name": "X", "value": "abc"}],
        "secret_string": "(sensitive)",
        "flag": True,
        "none": None,
    }


def _table() -> Any:
    raw = resources.files("interlock.secrecy").joinpath("data", "sensitive.json").read_bytes()
    return msgspec.json.decode(raw)


def test_every_row_of_the_table_says_where_it_comes_from() -> None:
    table = _table()
    sources = table["_meta"]["sources"]
    unread = {kind for kind in table["attributes"] if kind.partition("_")[0] not in sources}
    assert {kind.partition("_")[0] for kind in unread} == {"aws"}
    assert (
        len(unread) == len(re.findall(r"\w+/\w+", table["_meta"]["aws"].partition(":")[2])) - 1
    )  # one is not a secret
    for rows in (table["attributes"], table["not_in_schema"], table["not_checked"]):
        assert all(paths and all(re.fullmatch(r"[a-z0-9_.]+", path) for path in paths) for paths in rows.values())


def test_rows_that_were_not_checked_hide_as_well() -> None:
    assert ("password",) in secret_places("aws_db_instance")
    assert ("app_settings",) in secret_places("azurerm_linux_web_app")
    assert secret_places("null_resource") == ()


@given(
    st.from_regex(
        re.compile(r"[A-Za-z_.-]{0,6}(?:pass|secret|token|key|cookie|kube|pem|cred|auth|conn)[A-Za-z_.-]{0,12}")
    )
)
def test_no_text_with_a_name_that_sounds_secret_is_passed_over(name: str) -> None:
    written = msgspec.json.encode({"a": [{name: "x"}]}).decode()
    assert may_name_secrets(written) or not sounds_secret(name)


def test_secrets_within_each_other_leave_no_rest() -> None:
    secrets = gather_secrets(["secret-one", "secret-one-longer", "one-longer-secret-one"])
    assert secrets.hide("a secret-one-longer b secret-one c one-longer-secret-one") == (
        "a (sensitive) b (sensitive) c (sensitive)"
    )


def test_ten_thousand_secrets_that_begin_alike_are_all_found() -> None:
    secrets = gather_secrets(f"secret-{number:07d}" for number in range(10_000))
    text = " ".join(f"x{number}=secret-{number:07d}" for number in range(10_000))
    assert "secret-" not in secrets.hide(text)
