"""The requirements file of generated pipelines: Interlock and everything that it needs, each with its checksums.

A package that is installed by bare name beside production's secrets is whatever an index serves that day.
`data/requirements.txt` is made from our own by scripts/write_ci_requirements.py; pip refuses what is not listed.
"""

from __future__ import annotations

from importlib import resources

from interlock.ci.pipeline import Pipeline

HEADER = """\
# Written by `interlock ci generate`. Everything that the jobs install, each with its checksums; pip refuses the rest.
"""


def requirements_text(pipeline: Pipeline) -> str:
    """Return the requirements of a pipeline, its own package first."""
    what = f" @ {pipeline.wheel}" if pipeline.wheel else f"=={pipeline.interlock_version}"
    lines = (
        f"{pipeline.package.partition('[')[0]}{pipeline.extras}{what}",
        *(f"    --hash=sha256:{each}" for each in pipeline.package_sha256),
    )
    data = resources.files("interlock.ci").joinpath("data/requirements.txt").read_text(encoding="utf-8")
    return HEADER + " \\\n".join(lines) + "\n" + data
