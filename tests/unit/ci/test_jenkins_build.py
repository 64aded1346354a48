from pathlib import Path

import pytest

from interlock.ci.pipeline import Pipeline, Target
from interlock.ci.platforms.api import NoChange
from interlock.ci.platforms.jenkins import Jenkins, is_jenkins
from interlock.ci.platforms.opening import find_vendor, identity, open_platform
from interlock.ci.workflow import Vendor
from interlock.errors import PolicyGate, UsageError

BUILD = {"BUILD_TAG": "jenkins-deploy-7", "BRANCH_NAME": "main"}


@pytest.mark.parametrize("environ", [BUILD, {"JENKINS_URL": "https://jenkins.example/"}])
def test_a_build_is_known_with_and_without_the_controllers_address(environ: dict[str, str]) -> None:
    assert is_jenkins(environ)
    assert find_vendor(environ) is Vendor.JENKINS
    assert isinstance(open_platform(environ), Jenkins)
    assert not is_jenkins({"BUILD_TAG": "bamboo-1"})


def test_a_build_comments_nowhere_and_has_no_identity() -> None:
    with pytest.raises(NoChange):
        Jenkins(environ=BUILD).comment("body", "mark")
    with pytest.raises(UsageError, match="no identity"):
        identity(BUILD, "interlock")


def test_nothing_is_sealed_without_the_plan_of_the_stage_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PolicyGate, match="no reviewed plan"):
        Jenkins(environ=BUILD).source("prod", state="prod", branch="main")


def test_a_plan_outside_a_checkout_is_not_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.bin.wrapped").write_bytes(b"plan")
    with pytest.raises(PolicyGate) as refusal:
        Jenkins(environ=BUILD).source("prod", state="prod", branch="main")
    assert "not a git checkout" in refusal.value.why


@pytest.mark.parametrize("branch", [{"BRANCH_NAME": "feature"}, {"BRANCH_NAME": "", "GIT_BRANCH": "origin/feature"}])
def test_a_build_of_another_branch_seals_nothing(branch: dict[str, str]) -> None:
    with pytest.raises(PolicyGate) as refusal:
        Jenkins(environ=BUILD | branch).source("prod", state="prod", branch="main")
    assert "this build is of feature" in refusal.value.why


def test_what_jenkins_does_not_say_is_not_called_good() -> None:
    pipeline = Pipeline(targets=(Target(name="prod", directory=".", environment="production"),))
    found = list(Jenkins(environ=BUILD).checks(pipeline))
    assert {one.answer.value for one in found} == {"unknown"}
    assert "interlock-production" in found[1].subject
