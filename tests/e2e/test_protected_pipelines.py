"""Deletions in a protected state, by the generated files: refused when they are planned, deployed with a consent."""

from __future__ import annotations

import json
import shlex

import pytest
from tests.ci_jobs import (
    MODULE,
    GitHubJob,
    Outcome,
    Runner,
    codes,
    handed_on,
    merge_on_azure,
    merge_on_github,
    merge_on_gitlab,
    run_azure_stage,
    run_gitlab_job,
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SECOND = """
resource "genesyscloud_routing_skill" "sales" {
  name = "Sales"
}
"""
PLATFORMS = ("github", "gitlab", "azure")


class Deployment:
    """What a change meets on one platform: its plan, and after the merge what is sealed and applied."""

    def __init__(self, runner: Runner, platform: str) -> None:
        self.runner, self.platform = runner, platform
        yaml = runner.checkout / "interlock.yaml"
        yaml.write_text(
            yaml.read_text().replace("environment: production}", "environment: production, protected: true}")
        )
        self.write(MODULE + SECOND)
        runner.generate(platform)

    def write(self, module: str) -> None:
        (self.runner.checkout / "infra/main.tf").write_text(module)

    def plan(self) -> Outcome:
        """Run the plan job on the change's files; return its step that plans."""
        self.runner.commit()
        self.runner.artifacts.clear()  # those of the runs before belong to other changes
        self.runner.api.on("GET", "/repos/o/r/actions/runs/50/artifacts", {"artifacts": []})
        self.runner.api.on("GET", "/org/p/_apis/build/builds/3/artifacts", {"value": []})
        self.runner.api.answers.pop(("GET", "/projects/7/jobs/501/artifacts/plan.bin.wrapped"), None)
        for name in ("plan.bin.wrapped", "plan.bin", "plan.json"):
            (self.runner.checkout / name).unlink(missing_ok=True)
        match self.platform:
            case "github":
                merge_on_github(self.runner)
                return GitHubJob(self.runner, "interlock-plan.yml", "plan-prod-routing", run="50").execute()[0]
            case "gitlab":
                return run_gitlab_job(self.runner, "plan:prod-routing")[0]
            case _:
                return run_azure_stage(self.runner, "plan_prod_routing")[0]

    def report(self) -> dict[str, object]:
        """Return what the comment is made from."""
        folder = self.runner.checkout if self.platform == "gitlab" else self.runner.temp
        found: dict[str, object] = json.loads((folder / "report.json").read_text())
        return found

    def apply(self) -> list[tuple[str, int]]:
        """Merge, and run the jobs that follow."""
        match self.platform:
            case "github":
                merge_on_github(self.runner)
                seal = GitHubJob(self.runner, "interlock-apply.yml", "seal-prod-routing")
                sealed = codes(seal.execute())
                if sealed[-1][1]:
                    return sealed
                return codes(
                    GitHubJob(self.runner, "interlock-apply.yml", "apply-prod-routing", needs=seal.outputs).execute()
                )
            case "gitlab":
                merge_on_gitlab(self.runner)
                outcome, _ = run_gitlab_job(self.runner, "seal:prod-routing")
                if outcome.code:
                    return codes([outcome])
                lines = (self.runner.checkout / "interlock.env").read_text().splitlines()
                handed = dict(line.split("=") for line in lines)
                return codes(list(run_gitlab_job(self.runner, "apply:prod-routing", **handed)))
            case _:
                merge_on_azure(self.runner)
                outcomes = run_azure_stage(self.runner, "seal_prod_routing")
                if outcomes[-1].code:
                    return codes(outcomes)
                out = handed_on(outcomes)
                names = {"PLAN_DIGEST": out["digest"], "PLAN_RUN": out["run"], "SEALED": out["artifact"]}
                return codes(run_azure_stage(self.runner, "apply_prod_routing", **names))


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.promise("P8")
def test_a_deletion_in_a_protected_state_is_refused_when_it_is_planned_and_deployed_with_a_consent(
    runner: Runner, platform: str
) -> None:
    deployment = Deployment(runner, platform)
    assert deployment.plan().code == 0
    assert {code for _, code in deployment.apply()} == {0}
    assert runner.skills() == ["Billing", "Sales"]

    deployment.write(MODULE)
    refused = deployment.plan()
    assert refused.code == 41, refused.err
    assert "the plan deletes 1 resource from the protected state prod/routing" in refused.err
    report = deployment.report()
    assert "from the protected state" in str(report["error"])
    assert report["deleted"] == ["genesyscloud_routing_skill.sales"]
    words = shlex.split(str(report["next"]).partition("    ")[0])
    assert words[:3] == ["interlock", "ci", "allow-deletions"]

    runner.run(*words)
    assert deployment.plan().code == 0
    assert {code for _, code in deployment.apply()} == {0}
    assert runner.skills() == ["Billing"]

    # The same consent, for the next plan that deletes the same object: it was used.
    deployment.write(MODULE + SECOND)
    assert deployment.plan().code == 0
    assert {code for _, code in deployment.apply()} == {0}
    deployment.write(MODULE)
    again = deployment.plan()
    assert again.code == 41
    assert "agrees for serial" in again.err
    assert runner.skills() == ["Billing", "Sales"]


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.promise("P8")
def test_the_consent_to_one_deletion_covers_no_other(runner: Runner, platform: str) -> None:
    deployment = Deployment(runner, platform)
    assert deployment.plan().code == 0
    assert {code for _, code in deployment.apply()} == {0}
    deployment.write(MODULE)
    assert deployment.plan().code == 41
    runner.run(*shlex.split(str(deployment.report()["next"]).partition("    ")[0]))
    deployment.write(MODULE.partition("resource")[0] + SECOND)  # deletes the other one
    assert deployment.plan().code == 41
    # Nothing of what was refused is there to be sealed: what was planned before is of other files.
    assert [code for _, code in deployment.apply()][-1] == 41
    assert runner.skills() == ["Billing", "Sales"]
