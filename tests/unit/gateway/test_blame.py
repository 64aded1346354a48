from __future__ import annotations

from interlock.gateway.blame import REMEMBERED_S, Blame, Whose


def test_a_refusal_of_one_endpoint_is_that_endpoints() -> None:
    blame = Blame()
    assert blame.whose("GET a", 0, 0.0, slots=2) is Whose.ENDPOINT
    assert blame.whose("GET a", 1, 10.0, slots=2) is Whose.ENDPOINT


def test_refusals_of_several_endpoints_at_once_are_the_organisations_and_the_endpoints_are_pardoned() -> None:
    blame = Blame()
    blame.whose("GET a", 0, 0.0, slots=2)
    assert blame.whose("GET b", 1, 0.5, slots=2) is Whose.ORGANISATION
    assert blame.pardoned == ("GET a",)


def test_refusals_of_one_token_alone_are_that_tokens() -> None:
    blame = Blame()
    blame.whose("GET a", 3, 0.0, slots=3)
    assert blame.whose("GET b", 3, 0.5, slots=3) is Whose.TOKEN


def test_after_the_organisation_was_to_blame_a_single_refusal_is_held_against_it_for_a_while() -> None:
    blame = Blame()
    for number, name in enumerate(("GET a", "GET b")):
        blame.whose(name, number, 0.0, slots=2)
    assert blame.whose("GET c", 0, 100.0, slots=2) is Whose.ORGANISATION
    assert blame.whose("GET c", 0, 101.0 + REMEMBERED_S, slots=2) is Whose.ENDPOINT


def test_an_endpoint_that_was_refused_alone_stays_to_blame_itself() -> None:
    blame = Blame()
    blame.whose("GET a", 0, 0.0, slots=2)
    for number, name in enumerate(("GET b", "GET c")):
        blame.whose(name, number, 10.0, slots=2)
    assert blame.whose("GET a", 0, 20.0, slots=2) is Whose.ENDPOINT
