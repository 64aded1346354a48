from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from interlock.api.organisations import NewClient, NewOrganisation
from interlock.audit.log import AuditLog
from interlock.clock import SystemClock
from interlock.errors import InterlockError, UsageError
from interlock.rights import Right, Role, may
from interlock.server.gateway.book import OrganisationBook
from interlock.server.gateway.endpoints import OrganisationKeeper, organisation_endpoints
from interlock.server.gateway.organisation import owner_of
from interlock.store.opening import Store, open_store
from interlock.store.sealing import master_key
from interlock.store.vault import with_encryption

ACME = NewOrganisation(
    name="acme", region="eu-central-1", client_id="client", secret="hush-hush-hush", states=["prod/**", "test/a"]
)


@pytest.fixture
async def clear(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_store(str(tmp_path / "interlock.db"), clock=SystemClock())
    yield store
    await store.close()


@pytest.fixture
async def store(clear: Store) -> Store:
    return await with_encryption(clear, [master_key(bytes(range(32)))], clock=SystemClock())


@pytest.fixture
def book(store: Store) -> OrganisationBook:
    return OrganisationBook(store, SystemClock())


@pytest.mark.promise("P10")
async def test_an_organisation_is_kept_encrypted_and_told_without_its_secret(
    book: OrganisationBook, store: Store, tmp_path: Path
) -> None:
    keeper = OrganisationKeeper(book, AuditLog(store.records, SystemClock()))
    await keeper.add(ACME, by="ada")
    assert (await book.find("acme")).terms.credentials is not None
    told = await keeper.all()
    shown = f"{told} {await book.all()} {ACME} {await keeper.rotate('acme', NewClient(secret='hush-2'), by='ada')}"
    assert "hush" not in shown
    assert not any(b"hush" in file.read_bytes() for file in tmp_path.iterdir())
    entries = await AuditLog(store.records, SystemClock()).entries()
    assert [entry.action for entry in entries] == ["organisation-added", "organisation-rotated"]
    assert not any("hush" in str(entry) for entry in entries)


@pytest.mark.promise("P10")
async def test_one_that_is_asked_for_twice_is_added_once_and_written_down_once(
    book: OrganisationBook, store: Store
) -> None:
    audit = AuditLog(store.records, SystemClock())
    keeper = OrganisationKeeper(book, audit)
    made = await keeper.add(ACME, by="ada")
    assert await keeper.add(ACME, by="ben") == made
    assert [(entry.action, entry.by) for entry in await audit.entries()] == [("organisation-added", "ada")]
    await keeper.remove("acme", by="ada")
    await keeper.add(ACME, by="ada")
    assert len(await audit.entries(subject="acme")) == 3


@pytest.mark.promise("P10")
async def test_without_an_encryption_key_no_secret_is_taken(clear: Store) -> None:
    with pytest.raises(UsageError, match="not added") as caught:
        await OrganisationBook(clear, SystemClock()).add(ACME, by="ada")
    assert "encryption new-key" in caught.value.fix
    assert await clear.records.list("organisation/") == []


async def test_a_new_secret_takes_the_place_of_the_old_and_a_removed_one_is_gone(book: OrganisationBook) -> None:
    await book.add(ACME, by="ada")
    for name, value in (("secret", "hush-2"), ("states", ["dev/*"]), ("region", "eu-west-1")):
        with pytest.raises(UsageError, match="there already"):
            await book.add(replace(ACME, **{name: value}), by="ada")
    before = await book.find("acme")
    after = await book.rotate("acme", secret="other", client_id="client-2")
    assert (after.client_id, after.secret, after.key) == ("client-2", "other", before.key)
    await book.remove("acme")
    for gone in (book.find("acme"), book.remove("acme"), book.rotate("acme", secret="x")):
        with pytest.raises(UsageError, match="there is no organisation"):
            await gone


@pytest.mark.promise("P11")
async def test_a_state_that_two_organisations_claim_belongs_to_none(book: OrganisationBook) -> None:
    await book.add(ACME, by="ada")
    other = NewOrganisation(name="other", region="us-east-1", client_id="c", secret="s", states=["prod/eu"])
    await book.add(other, by="ada")
    known = await book.all()
    first = owner_of("prod/us", known)
    assert first is not None
    assert first.name == "acme"
    assert owner_of("dev/us", known) is None
    with pytest.raises(UsageError, match="two organisations"):
        owner_of("prod/eu", known)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Über"},
        {"name": ""},
        {"name": "a/b"},
        {"region": "mars-1"},
        {"client_id": "two words"},
        {"secret": ""},
        {"secret": "two\nlines"},
        {"states": []},
        {"states": ["pröd"]},
        {"budgets": ["nonsense"]},
    ],
)
async def test_what_cannot_be_an_organisation_is_refused_without_its_secret(
    book: OrganisationBook, wrong: dict[str, object]
) -> None:
    said = {"name": "acme", "region": "eu-central-1", "client_id": "c", "secret": "hush-hush", "states": ["a"]}
    with pytest.raises(InterlockError) as caught:
        await book.add(NewOrganisation(**{**said, **wrong}), by="ada")  # type: ignore[arg-type]
    assert "hush" not in str(caught.value)
    assert await book.all() == ()


@pytest.mark.promise("P10")
def test_only_an_administrator_of_everything_may_see_or_change_organisations(book: OrganisationBook) -> None:
    keeper = OrganisationKeeper(book, AuditLog(book._records, SystemClock()))
    rows = organisation_endpoints(keeper)
    assert {row.right for row in rows} == {Right.ADMINISTER}
    assert [role for role in Role if may(role, "**", Right.ADMINISTER, "**")] == [Role.ADMIN]
