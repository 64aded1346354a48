import json
from datetime import UTC, datetime
from typing import Any

import pytest

from interlock.simulator import DEFAULT_CLIENT, Moment, OAuthClient, Request, Simulation, Terms
from interlock.simulator.region import Region

NOW = Moment(at=datetime(2026, 1, 1, tzinfo=UTC), elapsed_s=1.0)
SECOND = OAuthClient(id="second", secret="second-secret")


@pytest.fixture
def region() -> Region:
    return Region([Simulation(Terms(seed=1)), Simulation(Terms(seed=2, clients=(SECOND,)))])


def asked(region: Region, method: str, path: str, *, token: str = "", body: Any = None, **query: str) -> Any:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {token}"} if token else {}
    outcome = region.handle(Request(method=method, path=path, headers=headers, body=raw, query=query), NOW)
    assert outcome.reply is not None
    return outcome.reply


def login(region: Region, client: OAuthClient) -> str:
    form = f"grant_type=client_credentials&client_id={client.id}&client_secret={client.secret}"
    return str(asked(region, "POST", "/oauth/token", body=form.encode()).content["access_token"])


def test_each_client_sees_its_own_organisation(region: Region) -> None:
    tokens = [login(region, DEFAULT_CLIENT), login(region, SECOND)]
    for token in tokens:
        assert asked(region, "POST", "/api/v2/routing/skills", token=token, body={"name": "Billing"}).status == 200
    ids = [asked(region, "GET", "/api/v2/organizations/me", token=token).content["id"] for token in tokens]
    assert len(set(ids)) == 2
    assert [len(each.snapshot()["skill"]) for each in region.organisations] == [1, 1]


def test_the_limits_of_one_organisation_do_not_count_in_another(region: Region) -> None:
    first, second = login(region, DEFAULT_CLIENT), login(region, SECOND)
    for _ in range(301):
        last = asked(region, "GET", "/api/v2/organizations/me", token=first)
    assert last.status == 429
    assert asked(region, "GET", "/api/v2/organizations/me", token=second).status == 200


def test_an_upload_reaches_the_organisation_that_gave_its_address_away(region: Region) -> None:
    token = login(region, SECOND)
    job = asked(region, "POST", "/api/v2/flows/jobs", token=token).content
    path, _, signature = job["presignedUrl"].partition("?signature=")
    request = Request(
        method="PUT",
        path="/" + path.split("/", 3)[3],
        query={"signature": signature},
        headers=job["headers"],
        body=b"inboundCall:\n  name: Main\n",
    )
    outcome = region.handle(request, NOW)
    assert outcome.reply is not None
    assert outcome.reply.status == 200
    assert [each["name"] for each in region.organisations[1].snapshot()["flow"]] == ["Main"]


def test_the_control_api_names_the_organisations_and_takes_a_number(region: Region) -> None:
    listed = asked(region, "GET", "/_control/organisations").content["organisations"]
    assert [each["clients"] for each in listed] == [[DEFAULT_CLIENT.id], ["second"]]
    assert asked(region, "PUT", "/_control/tokens/life", body={"seconds": 5}, organisation="2").status == 200
    assert region.organisations[1].login.client("second") is not None
    assert asked(region, "GET", "/_control/counts", organisation="x").status == 200


@pytest.mark.parametrize("path", ["/oauth/token", "/api/v2/users", "/_upload/x", "/other"])
def test_what_belongs_to_nobody_is_refused_by_the_first(region: Region, path: str) -> None:
    assert 400 <= asked(region, "POST", path, token="unknown", body=b"\xff=%").status < 500


def test_organisations_whose_clients_are_the_same_are_refused() -> None:
    with pytest.raises(ValueError, match="clients differ"):
        Region([Simulation(), Simulation()])
    with pytest.raises(ValueError, match="clients differ"):
        Region([])
