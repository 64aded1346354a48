"""Who is behind credentials, and whether two are one person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import UsageError
from interlock.persons import (
    Likeness,
    Party,
    count_all,
    count_others,
    kind_of,
    likeness,
    login_account,
    machine_account,
    read_accounts,
)


def known(*accounts: str, makers: tuple[str, ...] = ()) -> Party:
    return Party(accounts=accounts, makers=makers)


def known_job(account: str) -> Party:
    return Party(accounts=(account,), is_job=True)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (known("name:anna"), known("name:anna"), Likeness.SAME),
        (known("name:anna", "github:1"), known("github:1"), Likeness.SAME),
        (known("name:anna"), known("name:bob"), Likeness.OTHER),
        (known("name:anna", "github:1"), known("name:bob"), Likeness.OTHER),
        (known("name:anna"), known("github:1"), Likeness.UNKNOWN),
        (known("name:anna"), known("name:bob", makers=("name:anna",)), Likeness.MADE_BY),
        (known(makers=("name:anna",)), known("name:anna"), Likeness.MADE_BY),
        (known(), known("name:anna"), Likeness.UNKNOWN),
        (known(), known(), Likeness.UNKNOWN),
        (known(login_account("1", "https://a")), known(login_account("1", "https://b")), Likeness.UNKNOWN),
        (known(login_account("1", "https://a")), known(login_account("2", "https://a")), Likeness.OTHER),
        (known(machine_account("anna@laptop")), known(machine_account("bob@laptop")), Likeness.OTHER),
        (known(machine_account("root@c1")), known(machine_account("root@c2")), Likeness.UNKNOWN),
    ],
)  # fmt: skip
def test_two_are_told_apart_within_one_kind_of_accounts_alone(one: Party, other: Party, said: Likeness) -> None:
    assert (likeness(one, other), likeness(other, one)) == (said, said)


def test_a_login_whose_id_ends_like_an_address_is_of_the_provider_that_gave_it() -> None:
    assert kind_of(login_account("1 https://forged.example", "https://a.example")) == "person https://a.example"


KINDS = ("name", "github", "gitlab")
COMES = st.tuples(st.integers(0, 3), st.sets(st.sampled_from(KINDS)), st.sets(st.integers(0, 3), max_size=1))
"""A person, of which kinds their accounts are known here, and who made their credentials."""


def _party(comes: tuple[int, set[str], set[int]]) -> Party:
    person, kinds, makers = comes
    shown = tuple(f"{kind}:{person}" for kind in sorted(kinds)) or (f"token:{person}",)
    return known(*shown, makers=tuple(f"name:{maker}" for maker in makers))


@given(COMES, st.lists(COMES, max_size=7))
def test_never_are_more_persons_counted_than_there_are(
    asks: tuple[int, set[str], set[int]], agree: list[tuple[int, set[str], set[int]]]
) -> None:
    parties, real = [_party(each) for each in agree], {each[0] for each in agree}
    assert count_others(_party((asks[0], {*asks[1], "name"}, asks[2])), parties).persons <= len(real - {asks[0]})
    assert count_others(_party(asks), parties).persons <= len(real)
    assert count_all(parties).persons <= len(real)


def test_one_more_is_wanted_where_one_of_them_may_be_who_asks() -> None:
    bob = known("name:bob")
    assert count_others(known("name:anna"), [bob]).persons == 1
    login, other = known(login_account("1", "https://a")), known(login_account("2", "https://a"))
    assert count_others(known("name:anna"), [login]).persons == 0
    assert count_others(known("name:anna"), [login, other]).persons == 1
    assert count_others(known("name:anna", login_account("3", "https://a")), [login]).persons == 1


def test_whoever_agrees_to_what_a_program_asks_counts_but_its_maker_and_itself() -> None:
    program, made = known("token:1"), known("token:1", makers=("name:anna",))
    for asker in (program, known_job("github:1")):
        assert count_others(asker, [known("name:bob")]).persons == 1
        assert count_others(asker, [known("token:2")]).persons == 1
        assert count_others(asker, [known("token:2"), known("name:bob")]).persons == 1, "of two kinds they may be one"
    assert count_others(program, [program]).persons == 0
    assert count_others(known_job("github:1"), [known("name:bob", "github:1")]).persons == 0
    assert count_others(made, [known("name:anna")]).persons == 0
    assert count_others(made, [known("name:bob")]).persons == 0, "anna may have made that name up"
    assert count_others(made, [known("name:bob"), known("name:cid")]).persons == 1
    assert count_others(made, [known("token:2")]).persons == 0, "it may be anna's"


def test_tokens_that_name_nobody_are_counted_each_where_no_person_asks() -> None:
    tokens = [known("token:1"), known("token:2")]
    assert likeness(*tokens) is Likeness.OTHER
    assert count_all(tokens).persons == 2
    assert count_others(known("token:3"), tokens).persons == 2
    assert count_others(known("token:1"), tokens).persons == 1
    assert count_others(known_job("github:1"), tokens).persons == 2


def test_who_is_named_by_an_account_at_a_code_host_is_a_person_and_a_job_that_they_began_is_none() -> None:
    person, job = known("github:1"), known_job("github:1")
    made = known("token:1", makers=("github:1",))
    assert (person.is_person, made.is_person, job.is_person) == (True, True, False)
    assert count_others(person, [known("token:2")]).persons == 0, "it may be theirs"
    assert count_others(person, [known("name:bob")]).persons == 0, "as may that name"
    assert count_others(job, [known("token:2")]).persons == 1


def test_what_was_made_where_the_store_is_is_a_programs_and_not_agreed_to_by_the_account_there() -> None:
    root = machine_account("root@server")
    made = known("token:1", makers=(root,))
    assert not made.is_person
    assert count_others(made, [known("token:2", makers=(root,))]).persons == 1
    assert count_others(made, [known("name:bob", makers=(root,))]).persons == 1
    assert count_others(made, [known(root)]).persons == 0
    assert known(root).is_person, "who asks in a home of this machine is one"


def test_tokens_that_name_nobody_may_all_be_of_the_person_who_asks() -> None:
    assert count_others(known("name:anna"), [known("token:1"), known("token:2")]).persons == 0


def test_a_token_that_names_nobody_is_behind_none_that_was_made_with_it() -> None:
    assert known("token:1").everybody == ()
    assert known("token:1", makers=("name:anna",)).everybody == ("name:anna",)


@pytest.mark.parametrize(
    ("named", "kept"),
    [
        (["anna"], ("name:anna",)),
        (["Anna", "anna", "name:ANNA"], ("name:anna",)),
        (["anna@example.com", "github:583231"], ("name:anna@example.com", "github:583231")),
        (["person:248 https://login.example"], ("person:248 https://login.example",)),
        ([], ()),
    ],
)
def test_a_person_is_named_by_a_name_or_by_accounts(named: list[str], kept: tuple[str, ...]) -> None:
    assert read_accounts(named) == kept


@pytest.mark.parametrize(
    "named",
    [
        [""], ["-"], ["anna lee"], ["аnna"], ["github:octocat"], ["github:0"], ["person:248"], ["person: https://x"],
        ["os:root@host"], ["azure:1"], ["anna", "bob"], ["github:1", "github:2"], ["a" * 101], ["person:\x1b https://x"],
    ],
)  # fmt: skip
def test_what_names_nobody_or_two_is_refused(named: list[str]) -> None:
    with pytest.raises(UsageError):
        read_accounts(named)
