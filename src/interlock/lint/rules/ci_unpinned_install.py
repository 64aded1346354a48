"""ci-unpinned-install: a package index decides tomorrow what runs with our credentials."""

from __future__ import annotations

import re
from collections.abc import Iterator

from interlock.ci.operations import Program
from interlock.lint.deployments import distinct, jobs
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_PIP = re.compile(r"pip[\d.]*\Z")
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*\Z")
_LOCAL = re.compile(r"\.{0,2}/|\.\Z|\.\[|-e\Z|--editable")
_SUM = re.compile(r"#sha256=[0-9a-f]{64}\Z")
_FETCHES = frozenset({"curl", "wget"})
_TAKES_VALUE = frozenset(
    {
        "-i",
        "--index-url",
        "--extra-index-url",
        "-c",
        "--constraint",
        "-r",
        "--requirement",
        "-t",
        "--target",
        "--prefix",
    }
)


def _installed(words: list[str]) -> list[str] | None:
    """Return the arguments of an install from a package index; None for another command."""
    while words and words[0].startswith("-") and words[0] != "-m":
        words = words[1:]  # python's own flags
    if words[:2] in (["-m", "pip"], ["-m", "pipx"]):
        words = words[2:]
    return words[1:] if words[:1] == ["install"] else None


def _loose(program: Program) -> str | None:
    """Return what is installed without a checksum, for people; None when nothing is."""
    words = [word.text for word in program.words]
    name = program.name
    if name in ("pipx", "uvx") and len(words) > 1:
        return f"`{name}` installs without checksums"
    if not (_PIP.match(name) or _PYTHON.match(name)):
        return None
    given = _installed(words[1:])
    if given is None or "--require-hashes" in given:
        return None
    named = [
        word
        for before, word in zip(["", *given], given, strict=False)
        if not word.startswith("-") and before not in _TAKES_VALUE and not _SUM.search(word) and not _LOCAL.match(word)
    ]
    if "-e" in given or "--editable" in given:
        return None
    if not named and any(word.startswith(("-r", "--requirement")) for word in given):
        return "the requirements are installed without --require-hashes"
    return f"{named[0]!r} is installed without its checksum" if named else None


def _piped(text: str) -> bool:
    return re.search(r"\b(?:curl|wget)\b[^\n|]*\|\s*(?:sudo\s+)?(?:ba|da|z)?sh\b", text) is not None


def _check(sources: Sources) -> Iterator[Finding]:
    for _, job in jobs(sources):
        for step in job.steps:
            for program in step.programs:
                what = _loose(program)
                if what is None and program.name in _FETCHES and _piped(step.text):
                    what = f"what `{program.name}` fetches runs at once, without a checksum"
                if what is not None:
                    yield RULE.finding(
                        program.span, f"{what}; this job runs Terraform, and the package runs with its credentials"
                    )


RULE = Rule(
    name="ci-unpinned-install",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="A job with Terraform installs a package by bare name or version (`pip install x`, `x==1.0`, `pipx`) or pipes "
    "a download into a shell.",
    why="A version pins the one package at best: its dependencies, and the files behind the version, are whatever the "
    "index serves that day. A package runs code when it is installed and imported, beside the credentials of the job.",
    fix="Name everything with checksums: `pip install --require-hashes --requirement FILE`; `interlock ci generate` "
    "writes such a file, `pip-compile --generate-hashes` or `uv pip compile --generate-hashes` make one.",
    bad={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: python -m pip install interlock==1.2.3\n      - run: terraform plan\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: python -I -m pip install --require-hashes --requirement interlock.requirements.txt\n"
        "      - run: terraform plan\n"
    },
    check=distinct(_check),
)
