from __future__ import annotations

from interlock.genesys.provider import (
    TOKEN_POOL_DEFAULT,
    TOKEN_POOL_MAX,
    TOKEN_POOL_MIN,
    arguments,
    environment_variables,
    invented_arguments,
    source_address,
    version_read,
)


def test_the_pool_bounds_are_those_of_the_schema() -> None:
    pool = arguments()["token_pool_size"]
    assert pool.range == (TOKEN_POOL_MIN, TOKEN_POOL_MAX)
    assert pool.default == TOKEN_POOL_DEFAULT


def test_invented_arguments_are_no_arguments() -> None:
    assert "refresh_token" in invented_arguments()
    assert not invented_arguments() & set(arguments())


def test_environment_variables_name_their_argument() -> None:
    variables = environment_variables()
    assert variables["GENESYSCLOUD_REGION"] == "aws_region"
    assert variables["GENESYSCLOUD_GATEWAY_HOST"] == "gateway.host"
    assert "BYPASS_CONSISTENCY_CHECKER" in variables


def test_the_vendor_publishes_the_provider() -> None:
    assert source_address() == "mypurecloud/genesyscloud"
    assert version_read() == "1.84.1"


def test_secrets_are_marked() -> None:
    assert arguments()["oauthclient_secret"].sensitive
