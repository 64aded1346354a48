from __future__ import annotations

import pytest

from interlock.errors import UsageError
from interlock.genesys.regions import find_region, find_region_of_host, list_regions, parse_region


def test_there_are_twenty_regions_of_which_two_are_internal() -> None:
    assert len(list_regions()) == 20
    assert [each.name for each in list_regions() if each.internal] == ["dca", "tca"]


def test_hosts_are_made_from_the_domain() -> None:
    region = parse_region("EU-Central-1")
    assert (region.api_host, region.login_host, region.apps_host) == (
        "api.mypurecloud.de",
        "login.mypurecloud.de",
        "apps.mypurecloud.de",
    )


def test_an_unknown_region_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError) as caught:
        parse_region("eu-centrl-1")
    assert "eu-central-1" in caught.value.fix
    assert find_region("nowhere") is None


def test_a_region_is_found_by_any_of_its_hosts() -> None:
    found = find_region_of_host("API.usw2.pure.cloud")
    assert found is not None
    assert found.name == "us-west-2"
    assert find_region_of_host("example.org") is None
