"""A hand: one build of Jenkins. It knows nothing of changes and their reviews; the checkout is what it gives.

Source: Jenkins' documentation of the variables of a build, of declarative pipelines and of the credentials plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from interlock.ci.checks import Check, unknown
from interlock.ci.pipeline import Pipeline
from interlock.ci.platforms.api import NoChange, required
from interlock.ci.reviewed import Source, no_plan
from interlock.ci.seal import MAX_PLAN_BYTES
from interlock.errors import reason_of

WRAPPED_FILE = "plan.bin.wrapped"  # unstashed from the stage before


def is_jenkins(environ: Mapping[str, str]) -> bool:
    """Say whether this is a build of Jenkins; JENKINS_URL is there only where an administrator has set it."""
    return bool(environ.get("JENKINS_URL")) or environ.get("BUILD_TAG", "").startswith("jenkins-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Jenkins:
    """One build.

    Attributes:
        environ: Its environment.
        ask_git: Returns git's answer in the checkout; empty when it has none.
    """

    environ: Mapping[str, str] = field(repr=False)
    ask_git: Callable[..., str] = lambda *_: ""

    def checks(self, pipeline: Pipeline) -> Iterator[Check]:
        """Yield what a person has to look at: credentials and jobs of Jenkins are not asked for here."""
        yield unknown(
            "credentials of the folders",
            "Jenkins says to no job which others may use a credential",
            "docs/howto/ci-jenkins.md lists what belongs where",
        )
        for name in dict.fromkeys(target.environment for target in pipeline.targets):
            yield unknown(
                f"approvers interlock-{name}",
                "Jenkins lets a job ask for them, and says nothing of who they are",
                "look at Manage Jenkins > Users, or at the groups of your directory",
            )

    def comment(self, body: str, mark: str) -> str:  # noqa: ARG002 - as on every platform
        """Refuse: a build knows no change that it could comment on.

        Raises:
            NoChange: Always.
        """
        raise NoChange("Jenkins writes no comments", fix="use --to-summary")

    def source(self, slug: str, *, state: str, branch: str) -> Source:  # noqa: ARG002 - as on every platform
        """Return the plan that this build made: the approver is asked about that one, after it was sealed.

        Args:
            slug: The state as part of names.
            state: The state, for messages.
            branch: The branch that is deployed.

        Raises:
            PolicyGate: There is none, or the build is of another branch.
        """
        build = required(self.environ, "BUILD_TAG", title="no build", fix="run in a Jenkins job")
        here = self.environ.get("BRANCH_NAME") or self.environ.get("GIT_BRANCH", "").removeprefix("origin/")
        if here and here != branch:
            raise no_plan(state, f"this build is of {here}, and {branch} is deployed")
        try:
            with Path(WRAPPED_FILE).open("rb") as file:
                wrapped = file.read(MAX_PLAN_BYTES + 65536)
        except OSError as error:
            raise no_plan(state, f"{WRAPPED_FILE} of the stage before: {reason_of(error)}") from error
        commit, tree = (self.ask_git("rev-parse", name) for name in ("HEAD", "HEAD^{tree}"))
        if not tree:
            raise no_plan(state, "this is not a git checkout, so nobody can tell which files were planned")
        return Source(run=build, attempt="1", commit=commit, tree=tree, wrapped=wrapped, words="planned by this build")
