from __future__ import annotations

import pytest

from interlock.coordinator.names import (
    STATE_NAME_MAX,
    check_state_name,
    in_workspace,
    key_of,
    key_prefix,
    root_and_workspace,
    state_of,
)
from interlock.errors import UsageError


@pytest.mark.parametrize("name", ["prod", "prod/routing", "a.b_c-1/2.x", "prod/routing@eu-1", "A" * STATE_NAME_MAX])
def test_a_state_name_has_plain_parts_between_slashes(name: str) -> None:
    assert check_state_name(name) == name
    assert state_of(key_of(name)) == name
    assert key_of(name).startswith(key_prefix())


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/..", "-a", "a/", "/a", "a\\b", "a\x00", "ä", "a" * 201, "a\ud800"],
)
def test_anything_else_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_state_name(name)
    assert "prod/routing" in caught.value.fix


def test_a_workspace_stands_behind_the_name_of_its_root_module() -> None:
    assert in_workspace("prod/routing", "eu") == "prod/routing@eu"
    assert in_workspace("prod/routing", "default") == "prod/routing"
    assert root_and_workspace("prod/routing@eu") == ("prod/routing", "eu")
    assert root_and_workspace("prod") == ("prod", "default")
    for space in ("", "../x", "a/b", "a b"):
        with pytest.raises(UsageError):
            in_workspace("prod", space)


@pytest.mark.parametrize("name", ["a@", "@a", "a@b@c", "a@b/c", "a@default", "a@-b", "a@.."])
def test_what_stands_behind_the_sign_is_one_workspace_other_than_default(name: str) -> None:
    with pytest.raises(UsageError):
        check_state_name(name)
