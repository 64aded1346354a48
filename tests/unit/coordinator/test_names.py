from __future__ import annotations

import pytest

from interlock.coordinator.names import STATE_NAME_MAX, check_state_name, key_of, key_prefix, state_of
from interlock.errors import UsageError


@pytest.mark.parametrize("name", ["prod", "prod/routing", "a.b_c-1/2.x", "A" * STATE_NAME_MAX])
def test_a_state_name_has_plain_parts_between_slashes(name: str) -> None:
    assert check_state_name(name) == name
    assert state_of(key_of(name)) == name
    assert key_of(name).startswith(key_prefix())


@pytest.mark.parametrize("name", ["", ".", "..", "a/..", "-a", "a/", "/a", "a\\b", "a\x00", "ä", "a" * 201, "a\ud800"])
def test_anything_else_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_state_name(name)
    assert "prod/routing" in caught.value.fix
