"""The root outputs of a stored state, as `terraform output` gives them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct

from interlock.bounded import decode_json, read_json
from interlock.errors import THIS_STATE, StateInvalid, UsageError, command, reason_of
from interlock.state.encrypted import parse_content


class StoredOutput(Struct, frozen=True, kw_only=True):
    """One output; `type` and `value` are JSON as the state has them."""

    sensitive: bool = False
    type: Raw = Raw(b"null")
    value: Raw = Raw(b"null")

    @property
    def plain(self) -> object:
        """The value; it may be a secret."""
        return read_json(bytes(self.value))

    @property
    def document(self) -> dict[str, object]:
        """What `terraform output -json` says of it."""
        return {"sensitive": self.sensitive, "type": read_json(bytes(self.type)), "value": self.plain}

    def raw(self, name: str) -> str:
        """Return the value as `terraform output -raw` prints it.

        Raises:
            UsageError: It is a list, a map, or null.
        """
        value = self.plain
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str):
            return value
        if value is None or isinstance(value, dict | list):
            raise UsageError(
                f"output {name} cannot be printed raw",
                why="only texts, numbers and true or false can",
                fix=command("output", "--json", name),
            )
        return bytes(self.value).decode()


class _State(Struct):
    outputs: dict[str, StoredOutput] = {}
    encrypted_data: str = ""


def read_outputs(body: bytes) -> Mapping[str, StoredOutput]:
    """Return the outputs of a state by name, in their order.

    Raises:
        StateInvalid: It is not a state.
        UsageError: OpenTofu encrypted it.
    """
    try:
        state = decode_json(body, type=_State)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateInvalid(
            "the state's outputs cannot be read", why=reason_of(error), fix=command("state", "verify", THIS_STATE)
        ) from error
    if state.encrypted_data:
        parse_content(body, "the state")  # says what can be done, and never that there are none
    return dict(sorted(state.outputs.items()))


def find_output(outputs: Mapping[str, StoredOutput], name: str) -> StoredOutput:
    """Return one output.

    Raises:
        UsageError: There is none of this name.
    """
    if name not in outputs:
        known = ", ".join(outputs) or "none"
        raise UsageError(f"there is no output {name!r}", why=f"the state has {known}", fix="interlock output")
    return outputs[name]
