"""A pipeline -> the files of one CI system, as text."""

from collections.abc import Mapping

from interlock.ci.beside import HEADER
from interlock.ci.pipeline import REQUIREMENTS_FILE, Pipeline, check_lasting, check_limits, is_hosted
from interlock.ci.rendering import azure, github, gitlab, jenkins
from interlock.ci.rendering.requirements import requirements_text
from interlock.ci.workflow import Vendor

__all__ = ["HEADER", "VENDORS", "check_machines", "render"]

VENDORS = (Vendor.GITHUB, Vendor.GITLAB, Vendor.AZURE, Vendor.JENKINS)

_RENDERERS = {
    Vendor.GITHUB: github.render,
    Vendor.GITLAB: gitlab.render,
    Vendor.AZURE: azure.render,
    Vendor.JENKINS: jenkins.render,
}


def render(vendor: Vendor, pipeline: Pipeline) -> Mapping[str, str]:
    """Return the files of a pipeline by path, relative to the repository.

    Args:
        vendor: One of `VENDORS`.
        pipeline: What to write.
    """
    found = dict(_RENDERERS[vendor](pipeline))
    if not pipeline.installed:
        found[REQUIREMENTS_FILE] = requirements_text(pipeline)
    return found


def check_machines(vendor: Vendor, pipeline: Pipeline) -> None:
    """Refuse a pipeline for which the machines of a CI system do not last: within a job, or from one to the next.

    Raises:
        UsageError: As `check_limits` and `check_lasting`.
    """
    hosted = {Vendor.GITHUB: is_hosted(pipeline.runner), Vendor.AZURE: not pipeline.pool}
    if hosted.get(vendor, False):
        check_limits(pipeline)
    check_lasting(pipeline, has_machines=vendor in hosted, is_hosted=hosted.get(vendor, False))
