"""What a failed init means where providers are overridden for development."""

import pytest

from interlock.run.initialising import is_only_override

OVERRIDE = 'provider_installation {\n  dev_overrides { "mypurecloud/genesyscloud" = "/plugins" }\n}\n'
QUERY = "Error: Failed to query available provider packages\n\nCould not retrieve the list"
RESOLVE = "Error: Failed to resolve provider packages\n\nCould not resolve provider"  # OpenTofu's words


@pytest.mark.parametrize(
    ("output", "config", "passes"),
    [
        (QUERY, OVERRIDE, True),
        (f"{QUERY}\n{QUERY}", OVERRIDE, True),
        (RESOLVE, OVERRIDE, True),
        (RESOLVE, "", False),
        (QUERY, "", False),
        (f"{QUERY}\nError: Module not found", OVERRIDE, False),
        ("Error: Module not found", OVERRIDE, False),
        ("it was killed", OVERRIDE, False),
    ],
)
def test_only_providers_that_are_overridden_excuse_a_failed_init(output: str, config: str, passes: bool) -> None:
    assert is_only_override(output, config) is passes
