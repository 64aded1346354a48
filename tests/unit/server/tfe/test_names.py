"""What things are called, and what names are not ours."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import UsageError
from interlock.server.tfe.names import (
    NotFound,
    OutputId,
    VersionId,
    WorkspaceId,
    parse_output_id,
    parse_version_id,
    parse_workspace_id,
    state_of,
    ticket_prefix,
)

SEGMENT = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z", fullmatch=True)
STATES = st.builds("{}/{}".format, SEGMENT, SEGMENT)


@given(STATES, st.sampled_from(["", "0123456789abcdef"]))
def test_the_id_of_a_workspace_says_which_state_it_is(state: str, session: str) -> None:
    told = WorkspaceId(state=state, session=session)
    assert parse_workspace_id(str(told)) == told
    assert "/" not in str(told)


@given(STATES, st.integers(1, 10**9), st.text(max_size=40))
def test_ids_of_versions_and_outputs_do_too(state: str, number: int, name: str) -> None:
    version = VersionId(state=state, number=number)
    assert parse_version_id(str(version)) == version
    upload = VersionId(state=state, upload="0" * 20)
    assert parse_version_id(str(upload)) == upload
    output = OutputId(state=state, number=number, name=name)
    assert parse_output_id(str(output)) == output


@given(st.text(max_size=60))
def test_any_other_text_is_not_found(text: str) -> None:
    for parse, kind in ((parse_workspace_id, "ws-"), (parse_version_id, "sv-"), (parse_output_id, "wsout-")):
        for tried in (text, kind + text):
            with suppress(NotFound):
                assert str(parse(tried)) == tried


def test_a_workspace_whose_name_is_not_of_two_parts_is_refused() -> None:
    assert state_of("acme", "app") == "acme/app"
    assert state_of("acme", "app@eu") == "acme/app@eu"
    for organization, name in (
        ("a/b", "c"),
        ("a", "b/c"),
        ("a@b", "c"),
        ("..", "c"),
        ("a", ".."),
        ("", "c"),
        ("a", ""),
    ):
        with pytest.raises(UsageError):
            state_of(organization, name)


def test_two_tokens_and_two_sessions_never_have_tickets_in_common() -> None:
    made = {ticket_prefix(key, session) for key in ("a", "b", "a ") for session in ("", "x", " x")}
    assert len(made) >= 8  # "a " with "x" reads as "a" with " x", and a key has no spaces
