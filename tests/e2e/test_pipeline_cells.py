"""Every trigger on every platform, for each home of a state; see `tests/pipeline_cells.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.ci_jobs import MODULE, Runner
from tests.pipeline_cells import check_cells
from tests.pipeline_platforms import PLATFORMS, spelled

from interlock.testing.aws import LocalAws, local_aws

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

HOMES = ("own", "s3-table", "s3-lockfile")
SECOND = """
resource "genesyscloud_routing_skill" "sales" {
  name = "Sales"
}
"""


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with local_aws() as served:
        yield served


def backend(aws: LocalAws, home: str) -> str:
    """Return the `terraform` block that keeps the state there."""
    if home == "own":
        return ""
    bucket, table = aws.new_bucket(), aws.new_table()
    aws.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    locking = f'dynamodb_table = "{table}"' if home == "s3-table" else "use_lockfile = true"
    return f"""
terraform {{
  backend "s3" {{
    bucket                      = "{bucket}"
    key                         = "app/terraform.tfstate"
    region                      = "us-east-1"
    skip_credentials_validation = true
    skip_requesting_account_id  = true
    use_path_style              = true
    endpoints                   = {{ s3 = "{aws.url}", dynamodb = "{aws.url}" }}
    {locking}
  }}
}}
"""


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.promise("P8")
def test_each_trigger_does_what_the_table_says(runner: Runner, aws: LocalAws, platform: str, home: str) -> None:
    block = backend(aws, home)
    runner.environ |= aws.environment if block else {}

    def write(module: str) -> None:
        (runner.checkout / "infra/main.tf").write_text(block + module)

    write(MODULE)
    runner.generate(platform)
    events, seen = PLATFORMS[platform](runner), {}
    seen["fork"] = spelled(events.fork())
    seen["change opened"] = spelled(events.change())
    write(MODULE + SECOND)
    seen["change updated"] = spelled(events.change())
    assert runner.skills() == [], runner.failures
    seen["first ever"] = spelled(events.merge())
    assert runner.skills() == ["Billing", "Sales"], runner.failures
    seen["re-run"] = spelled(events.merge())
    seen["schedule"] = spelled(events.schedule())
    write(MODULE)
    events.change()
    seen["merged"] = spelled(events.merge())
    assert runner.skills() == ["Billing"], runner.failures
    write(MODULE + SECOND)
    seen["by hand"] = spelled(events.by_hand())
    assert runner.skills() == ["Billing", "Sales"], runner.failures
    if platform != "jenkins":  # Jenkins itself keeps the builds of a job apart
        write(MODULE)
        events.change()
        seen["two at once"] = spelled(events.twice())
        assert runner.skills() == ["Billing"], runner.failures
    check_cells(platform, home, seen)
