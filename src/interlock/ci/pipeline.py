"""The pipeline that Interlock wants, for no CI system in particular: `render/` writes it for each.

Knows: nothing but plain values. `read_pipeline` takes the `pipeline:` section of interlock.yaml; every value that
ends up in a generated file is checked here, so that the templates need no escaping.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from interlock.errors import UsageError

MAX_STATES = 200  # jobs of one generated workflow; GitHub allows 256 in a matrix and shows no more
REQUIREMENTS_FILE = "interlock.requirements.txt"  # beside interlock.yaml
HOSTED_MIN = 6 * 60  # a hosted job ends after six hours whatever the file says
MAX_MINUTES = 24 * 60  # of one's own machines; longer is more likely a mistake

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}\Z")
_DIRECTORY = re.compile(r"(?:\.|[A-Za-z0-9_][A-Za-z0-9._/-]{0,199})\Z")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ /-]{0,99}\Z")
_AUDIENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,199}\Z")
_VERSION = re.compile(r"\d+\.\d+\.\d+(?:[-.]?[a-z0-9.]+)?\Z")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}\Z")
_REGION = re.compile(r"[a-z0-9-]{5,30}\Z")
_CRON = re.compile(r"[0-9*,/-]+(?: [0-9A-Z*,/-]+){4}\Z")
_URL = re.compile(r"https://[A-Za-z0-9.-]+(?::\d{1,5})?(?:/[\w./-]*)?\Z")
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:\[[a-z]+(?:,[a-z]+)*\])?\Z")
_FOLDER = re.compile(r"/[A-Za-z0-9._/-]{1,199}\Z")
_HOSTED = ("ubuntu-", "macos-", "windows-", "vs2")  # labels of machines that the platform makes anew for each job
_IMAGE = re.compile(r"[a-z0-9][\w./:@-]{2,254}@sha256:[0-9a-f]{64}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_WHEEL = re.compile(r"https://[A-Za-z0-9.-]+(?::\d{1,5})?/[\w./+-]{1,300}\.whl\Z")
_WRAP_KEY = re.compile(r"ilwrap_[A-Za-z0-9_-]{43}\Z")
_MINUTES = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?\Z")


def slug_of(state: str) -> str:
    """Return a state's name as part of the names of jobs, groups and artifacts: lower case, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", state.lower()).strip("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One state that the pipeline deploys.

    Attributes:
        name: The state's name.
        directory: Its root module, relative to the repository.
        environment: The CI environment with its approvals and secrets.
        locked: Whether the root module has a lock file of its providers, so that no other is installed.
        backend: Terraform's word for the backend that has the state; "" for Interlock's own.
        needs: Names of the states whose roots are applied before this one, those of these included.
        touched_by: Paths, with `**`, of which a change touches this root or one that it needs; () for any path.
    """

    name: str
    directory: str
    environment: str
    locked: bool = False
    backend: str = ""
    needs: tuple[str, ...] = ()
    touched_by: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """The name as part of job and group names: lower case, digits and hyphens."""
        return slug_of(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aws:
    """Roles that the jobs take on by OIDC: reading for plans, writing for applies."""

    region: str
    plan_role: str
    apply_role: str
    connection: str = "aws"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """What to generate.

    Attributes:
        targets: The states, in order.
        branch: Its pushes are applied.
        tool: `terraform` or `tofu`.
        tool_version: Exact.
        interlock_version: Exact.
        package: The name under which a package index has Interlock.
        genesys_region: GENESYSCLOUD_REGION.
        aws: Roles for the state backend; None without AWS.
        server: Interlock server; None for none.
        audience: What the CI system's token for that server names; by default the server's address.
        server_connection: Service connection whose identity logs in to the server (Azure); "" for the pipeline's own.
        drift_cron: When drift is looked for (UTC); "" for never.
        notify: Whether failures go to the webhook in the secret INTERLOCK_NOTIFY_URL.
        wait_min: Longest wait of a run for its turn.
        plan_min: Time limit of a plan without its waiting.
        apply_min: Time limit of an apply without its waiting.
        runner: The machine label (GitHub, Azure).
        pool: Name of a pool of your own machines (Azure); "" for Microsoft's.
        home: Folder of the runners that outlives every job, for INTERLOCK_HOME; "" for none.
        image: A container image with its digest (GitLab): Terraform's, or one with Interlock too (`installed`).
        installed: The image or runner has Interlock already; nothing is installed.
        package_sha256: Checksums of Interlock's own files in the package index, or of the wheel.
        wheel: Address of Interlock's wheel; "" for the package index.
        plan_key: The public key with which plan jobs wrap plans.
        tofu_sha256: Checksum of OpenTofu's archive for Linux on amd64 (Azure).
        keeps_all: Whether every waiting deployment keeps its place in GitHub's own queue; False where the server does
            not know `queue: max` yet, and lets a newer one replace the one that waits.
        accept: Findings of `interlock ci check` that are borne, each with its reason.
    """

    targets: tuple[Target, ...]
    branch: str = "main"
    tool: str = "terraform"
    tool_version: str = "1.11.4"
    interlock_version: str = "0.1.0"
    package: str = "interlock"
    genesys_region: str = "us-east-1"
    aws: Aws | None = None
    server: str | None = None
    audience: str = ""
    server_connection: str = ""
    drift_cron: str = "17 4 * * 1-5"
    notify: bool = False
    wait_min: int = 60
    plan_min: int = 30
    apply_min: int = 120
    runner: str = "ubuntu-24.04"
    pool: str = ""
    home: str = ""
    image: str = ""
    installed: bool = False
    package_sha256: tuple[str, ...] = ()
    wheel: str = ""
    plan_key: str = ""
    tofu_sha256: str = ""
    keeps_all: bool = True
    accept: Mapping[str, str] = field(default_factory=dict)

    @property
    def gitlab_image(self) -> str:
        """The image of GitLab's jobs.

        Raises:
            UsageError: None was chosen: a tag is whatever its owner points it at today.
        """
        if not self.image:
            name = "ghcr.io/opentofu/opentofu" if self.tool == "tofu" else "hashicorp/terraform"
            raise UsageError(
                "pipeline.image is missing",
                why="GitLab's jobs run in an image, and without its digest it is whatever the tag names that day",
                fix=f"docker buildx imagetools inspect {name}:{self.tool_version}    and set pipeline.image",
            )
        return self.image

    @property
    def extras(self) -> str:
        """The extras of our package that the states need, as they are written behind its name."""
        _, _, given = self.package.partition("[")
        wanted = {one for one in given.rstrip("]").split(",") if one}
        wanted |= {"aws"} if self.aws or any(target.backend == "s3" for target in self.targets) else set()
        wanted |= {"postgres"} if any(target.backend == "pg" for target in self.targets) else set()
        return f"[{','.join(sorted(wanted))}]" if wanted else ""

    @property
    def ending_min(self) -> int:
        """How long a job that was stopped may still take to end well: an operation under way is not cut off."""
        return min(self.apply_min, 60)

    def limit_min(self, work_min: int) -> int:
        """Return a job's whole limit: its turn, its work, and time to end well."""
        return self.wait_min + work_min + CLOSING_MIN


CLOSING_MIN = 15  # set-up before, and `interlock wait` after, an operation


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFacts:
    """What interlock.yaml says of one state, as far as a pipeline needs it."""

    directory: str | None
    environment: str | None
    locked: bool = False
    backend: str = ""
    needs: tuple[str, ...] = ()
    touched_by: tuple[str, ...] = ()


def read_pipeline(
    section: Mapping[str, Any],
    states: Mapping[str, StateFacts],
    *,
    server: str | None,
    interlock_version: str,
) -> Pipeline:
    """Read the `pipeline:` section of interlock.yaml.

    Args:
        section: The section; unknown keys are refused.
        states: The states by name; those without a directory are left out.
        server: URL of the Interlock server, from the same file.
        interlock_version: The version that wrote the pipeline, and that it will install.

    Raises:
        UsageError: A key or value is wrong, or there is nothing to deploy.
    """
    _known(section, _KEYS, "pipeline")
    default_environment = _text(section, "environment", _WORD, "production")
    targets = tuple(_targets(states, default_environment))
    if not targets:
        raise UsageError(
            "there is no state to deploy", why="interlock.yaml lists no state with a directory", fix="interlock init"
        )
    installed = _flag(section, "installed")
    tool = "tofu" if "tofu" in section else "terraform"
    return Pipeline(
        targets=_distinct(targets),
        branch=_text(section, "branch", _NAME, "main"),
        tool=tool,
        tool_version=_text(section, tool, _VERSION, "1.11.4"),
        interlock_version=interlock_version,
        package=_text(section, "package", _PACKAGE, "interlock"),
        genesys_region=_text(section, "genesys_region", _REGION, "us-east-1"),
        aws=_aws(section.get("aws")),
        server=_server(server),
        audience=_text(section, "audience", _AUDIENCE, "") if "audience" in section else _server(server) or "",
        server_connection=_text(section, "server_connection", _WORD, "") if "server_connection" in section else "",
        drift_cron=_cron(section.get("drift", "17 4 * * 1-5")),
        notify=_flag(section, "notify"),
        wait_min=_minutes(section, "wait", 60),
        plan_min=_minutes(section, "plan_timeout", 30),
        apply_min=_minutes(section, "apply_timeout", 120),
        runner=_text(section, "runner", _WORD, "ubuntu-24.04"),
        pool=_text(section, "pool", _WORD, "") if "pool" in section else "",
        home=_text(section, "home", _FOLDER, "") if "home" in section else "",
        image=_text(section, "image", _IMAGE, "") if "image" in section else "",
        installed=installed,
        package_sha256=_checksums(section, installed),
        wheel=_text(section, "wheel", _WHEEL, "") if "wheel" in section else "",
        plan_key=_plan_key(section),
        tofu_sha256=_text(section, "tofu_sha256", _SHA256, "") if "tofu_sha256" in section else "",
        keeps_all=_flag(section, "github_queue", default=True),
        accept=_reasons(section.get("accept", {})),
    )


def _reasons(value: object) -> Mapping[str, str]:
    """Return what `pipeline.accept` says; a finding without a reason is not accepted."""
    if not isinstance(value, Mapping):
        raise UsageError("pipeline.accept must be a mapping", why=f"it is {value!r}", fix="write FINDING: REASON")
    for finding, reason in value.items():
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError(f"pipeline.accept gives no reason for {finding!r}", fix="write why it is accepted")
    return {str(finding): reason for finding, reason in value.items()}


def check_limits(pipeline: Pipeline) -> None:
    """Refuse time limits that a hosted machine does not keep: it would cut the apply off, whatever the file says.

    Raises:
        UsageError: Waiting, applying and ending take longer than a hosted job may.
    """
    whole = pipeline.limit_min(max(pipeline.apply_min, pipeline.plan_min))
    if whole > HOSTED_MIN:
        raise UsageError(
            f"an apply may take {whole} minutes, and a hosted job ends after {HOSTED_MIN}",
            why=f"pipeline.wait and pipeline.apply_timeout add up, with {CLOSING_MIN} minutes to begin and to end",
            fix="make one of them shorter, or use a machine of your own (pipeline.runner, pipeline.pool)",
        )


def check_lasting(pipeline: Pipeline, *, has_machines: bool, is_hosted: bool) -> None:
    """Refuse a pipeline in which each job would begin with an empty state.

    Args:
        pipeline: What is to be generated.
        has_machines: The platform's jobs run on machines themselves, not in containers that mount what they need.
        is_hosted: They run on machines that the platform makes anew for each job.

    Raises:
        UsageError: A state is in Interlock's own backend, or in a file, and no home outlives the jobs: the second job
            would create everything again, and end with 0.
    """
    lost = [target for target in pipeline.targets if target.backend in _OF_ONE_MACHINE]
    if not lost or pipeline.server is not None or (pipeline.home and not (has_machines and is_hosted)):
        return
    where = "a file of the runner" if lost[0].backend else "the store of the machine that runs"
    why = f"it is in {where}, and " + (
        f"each job of {pipeline.runner} begins on a new machine"
        if has_machines and is_hosted
        else "nothing says which folder of the runners outlives a job"
    )
    raise UsageError(
        f"state {lost[0].name} would be empty in every job",
        why=why,
        fix="keep the state in S3 or another shared backend, or set pipeline.home (and pipeline.runner or "
        "pipeline.pool) to a folder of one machine of your own",
    )


_OF_ONE_MACHINE = frozenset({"", "local"})


def is_hosted(label: str) -> bool:
    """Say whether a machine label is one of those that GitHub and Azure make anew for each job."""
    return label.lower().startswith(_HOSTED)


def _checksums(section: Mapping[str, Any], installed: bool) -> tuple[str, ...]:
    """Return the checksums of our own package; without one anybody who has the index has production's secrets."""
    value = section.get("package_sha256", [])
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) and _SHA256.match(one) for one in listed):
        raise UsageError("pipeline.package_sha256 must be a SHA-256, or a list of them", fix="sha256sum WHEEL")
    if not listed and not installed:
        raise UsageError(
            "pipeline.package_sha256 is missing",
            why="the jobs hold production's secrets, and would install whatever the package index serves that day",
            fix="pip download --no-deps interlock && sha256sum interlock-*    or set pipeline.installed: true",
        )
    return tuple(listed)


def _plan_key(section: Mapping[str, Any]) -> str:
    if "plan_key" not in section:
        raise UsageError(
            "pipeline.plan_key is missing",
            why="plans are wrapped with it, so that no job that runs a change's code can read or seal another plan",
            fix="interlock ci keys",
        )
    return _text(section, "plan_key", _WRAP_KEY, "")


_KEYS = (
    *("environment", "branch", "terraform", "tofu", "genesys_region", "aws", "audience", "drift", "notify"),
    "server_connection",
    *("wait", "plan_timeout", "apply_timeout", "runner", "image", "package"),
    *("installed", "package_sha256", "wheel", "plan_key", "tofu_sha256", "accept", "pool", "home", "github_queue"),
)


def _targets(states: Mapping[str, StateFacts], default_environment: str) -> Iterable[Target]:
    for name, facts in states.items():
        if facts.directory is not None:
            yield Target(
                name=_checked(f"the state name {name!r}", name, _NAME),
                directory=_checked(f"the directory of {name}", facts.directory, _DIRECTORY),
                environment=_checked(f"the environment of {name}", facts.environment or default_environment, _WORD),
                locked=facts.locked,
                backend=facts.backend,
                needs=facts.needs,
                touched_by=facts.touched_by,
            )


def _distinct(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    if len(targets) > MAX_STATES:
        raise UsageError(
            f"{len(targets)} states are too many for one pipeline",
            why=f"the limit is {MAX_STATES}",
            fix="give each part of the repository an interlock.yaml and a pipeline of its own",
        )
    by_slug: dict[str, Target] = {}
    for target in targets:
        other = by_slug.setdefault(target.slug, target)
        if other is not target:
            raise UsageError(
                f"the states {other.name!r} and {target.name!r} would have the same job name",
                why=f"both become {target.slug!r}",
                fix="rename one of them",
            )
    return targets


def _known(section: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    names = list(keys)
    for key in section:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1)
            fix = f"write {near[0]!r}" if near else f"one of: {', '.join(names)}"
            raise UsageError(f"unknown key {where}.{key} in interlock.yaml", fix=fix)


def _checked(what: str, value: str, form: re.Pattern[str]) -> str:
    if not form.match(value) or ".." in value.split("/"):
        what = f"{what} cannot go into a pipeline file"
        if form in _EXAMPLES:
            raise UsageError(what, why=f"{value!r} has another form", fix=f"write it like {_EXAMPLES[form]}")
        raise UsageError(
            what,
            why=f"{value!r} has characters that CI systems or shells read in their own way",
            fix="use letters, digits and - . _ /",
        )
    return value


# Of values that hold more than letters, digits and - . _ /
_EXAMPLES = {
    _VERSION: "1.11.4",
    _ROLE: "arn:aws:iam::111122223333:role/NAME",
    _REGION: "us-east-1",
    _CRON: "17 4 * * 1-5",
    _PACKAGE: "interlock or interlock[aws]",
    _FOLDER: "/var/lib/interlock",
    _IMAGE: "hashicorp/terraform:1.11.4@sha256:DIGEST, with the 64 digits of the digest",
    _SHA256: "what `sha256sum FILE` prints first, 64 digits",
    _WHEEL: "https://HOST/interlock-0.1.0-py3-none-any.whl",
    _WRAP_KEY: "what `interlock ci keys` prints for pipeline.plan_key",
}


def _text(section: Mapping[str, Any], key: str, form: re.Pattern[str], default: str) -> str:
    value = section.get(key, default)
    if not isinstance(value, str):
        raise UsageError(f"pipeline.{key} must be text", why=f"it is {value!r}", fix="put it in quotes")
    return _checked(f"pipeline.{key}", value, form)


def _flag(section: Mapping[str, Any], key: str, *, default: bool = False) -> bool:
    value = section.get(key, default)
    if not isinstance(value, bool):
        raise UsageError(f"pipeline.{key} must be true or false", why=f"it is {value!r}", fix="write true or false")
    return value


def _cron(value: object) -> str:
    if value is False or value == "":
        return ""
    return _text({"drift": value}, "drift", _CRON, "")


def _minutes(section: Mapping[str, Any], key: str, default: int) -> int:
    value = section.get(key, f"{default}m")
    match = _MINUTES.match(value) if isinstance(value, str) and value else None
    minutes = int(match[1] or 0) * 60 + int(match[2] or 0) if match else 0
    if not 1 <= minutes <= MAX_MINUTES:
        raise UsageError(
            f"pipeline.{key} must be a time between 1m and 24h",
            why=f"it is {value!r}",
            fix="write it like 90m or 1h30m",
        )
    return minutes


def _aws(value: object) -> Aws | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise UsageError(
            "pipeline.aws must be a mapping", why=f"it is {value!r}", fix="name region, plan_role and apply_role in it"
        )
    _known(value, [field.name for field in fields(Aws)], "pipeline.aws")
    missing = [key for key in ("region", "plan_role", "apply_role") if key not in value]
    if missing:
        raise UsageError(f"pipeline.aws lacks {', '.join(missing)}", fix="name the region and both roles' ARNs")
    return Aws(
        region=_text(value, "region", _REGION, ""),
        plan_role=_text(value, "plan_role", _ROLE, ""),
        apply_role=_text(value, "apply_role", _ROLE, ""),
        connection=_text(value, "connection", _WORD, "aws"),
    )


def _server(url: str | None) -> str | None:
    if url is None:
        return None
    if not _URL.match(url):
        raise UsageError(
            "the server's URL cannot go into a pipeline file",
            why=f"{url!r} is not a plain https address, and CI runners must not send tokens in the clear",
            fix="set `server:` in interlock.yaml to an https URL",
        )
    return url
