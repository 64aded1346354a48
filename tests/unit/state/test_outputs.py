import pytest
from tests.opentofu_documents import FIRST

from interlock.errors import StateInvalid, UsageError
from interlock.state.outputs import find_output, read_outputs

STATE = b"""{"outputs": {
  "b": {"value": 1.50, "type": "number"},
  "a": {"value": "x", "type": "string", "sensitive": true},
  "c": {"value": [true], "type": ["list", "bool"]},
  "d": {"value": true}}}"""


def test_outputs_are_read_by_name_with_their_marks_and_types() -> None:
    found = read_outputs(STATE)
    assert list(found) == ["a", "b", "c", "d"]
    assert found["a"].document == {"sensitive": True, "type": "string", "value": "x"}
    assert [find_output(found, name).raw(name) for name in "abd"] == ["x", "1.50", "true"]


def test_what_terraform_does_not_print_raw_is_refused_and_an_unknown_name_too() -> None:
    found = read_outputs(STATE)
    with pytest.raises(UsageError, match="cannot be printed raw"):
        found["c"].raw("c")
    with pytest.raises(UsageError, match="there is no output 'z'"):
        find_output(found, "z")


@pytest.mark.parametrize("body", [b"", b"[]", b"x", b"\xff", b'{"outputs": 1}'])
def test_what_is_not_a_state_has_no_outputs(body: bytes) -> None:
    with pytest.raises(StateInvalid):
        read_outputs(body)


@pytest.mark.promise("P8")
def test_an_encrypted_state_is_not_called_one_without_outputs() -> None:
    with pytest.raises(UsageError, match="OpenTofu encrypted it"):
        read_outputs(FIRST)
