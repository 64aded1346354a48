"""Commands that install or run what an index serves that day: which they are, and what in them is not pinned.

Knows: command lines of package managers. What counts as pinned is what makes the same bytes run tomorrow: a checksum in
the command or in a lock file that the command must obey; for packages that a distribution signs, an exact version.
A word that is a variable is taken as it is written; an image whose name is a variable is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from interlock.ci.operations import Program

_PIP: Final = re.compile(r"pip[\d.]*\Z")
_PYTHON: Final = re.compile(r"(?:python|pypy)[\d.]*\Z")
_LOCAL: Final = re.compile(r"\.{0,2}/|\.\Z|\.\[")
_SUM: Final = re.compile(r"#sha256=[0-9a-f]{64}\Z")
_DIGEST: Final = re.compile(r"@sha256:[0-9a-f]{64}\Z")
_FLAG_WITH_VALUE: Final = re.compile(
    r"-[icrtf]|--(?:index-url|extra-index-url|constraint|requirement|target|prefix|find-links|python|index|root)"
)
_GO_VERSION: Final = re.compile(r"@v\d+\.\d+\.\d+[\w.+-]*\Z")
_SIGNED_VERSION: Final = re.compile(r"[^<>~=]+=[^=].*|.+-\d[\w.:~+]*-[\w.]+")  # apk, apt: name=version; dnf: name-1.2-3
_UNSIGNED: Final = frozenset(
    {"--allow-untrusted", "--allow-unauthenticated", "--force-yes", "--nogpgcheck", "--no-gpg-checks"}
)
_NPM_CI: Final = "`npm install` may choose other packages than the lock file, unlike `npm ci`"
_NO_VALUE: Final = frozenset(
    {"--rm", "--detach", "--interactive", "--tty", "--privileged", "--init", "--read-only", "--publish-all", "--quiet",
     "--no-healthcheck", "--oom-kill-disable", "--sig-proxy", "--all-tags", "--disable-content-trust", "--replace"}
)  # fmt: skip

_FETCHES: Final = frozenset({"curl", "wget", "iwr", "irm", "invoke-webrequest", "invoke-restmethod"})
_SHELLS: Final = frozenset({"bash", "sh", "dash", "zsh", "ash", "ksh", "fish", "pwsh", "powershell"})
_INTERPRETER: Final = re.compile(r"(?:python|pypy|perl|ruby|node)[\d.]*\Z")
_HARMLESS: Final = frozenset({"-u", "-I", "-P", "-s", "-E"})  # flags after which standard input is still the script
_EVALUATES: Final = frozenset({"eval", "source", ".", "iex"})
_FETCHED_WORD: Final = re.compile(r"(?:\$\(|`)\s*(?:curl|wget)\b")
_FETCHED_FILE: Final = re.compile(
    r"(?:\b(?:ba|da|z|k|a)?sh|\bsource|(?:^|[\s;&])\.|\bpython[\d.]*)(?:\s+-\S+)*\s+<\(\s*(?:curl|wget)\b"
    r"|(?i:\biex\b.*\b(?:DownloadString|iwr|irm)\b)"
)

Loose = Callable[[Sequence[str]], str | None]
"""What a command with these arguments takes unpinned, for people; None when nothing."""


def loose_install(program: Program, environ: Mapping[str, str], built: Collection[str] = ()) -> str | None:
    """Return what a command installs or runs without a checksum, for people; None when nothing.

    Args:
        program: The command.
        environ: Variables that the file sets for it.
        built: Images that the job builds itself; see `built_images`.
    """
    words = [word.text for word in program.words]
    if whole := _container_words(program):
        return _image(whole, built)
    name = program.name.lower().removesuffix(".exe")
    if _PIP.match(name):
        return _pip(words[1:], environ)
    if _PYTHON.match(name):
        return _python(words[1:], environ)
    if name == "uv" and _verbs(words[1:], 2) == ["pip", "install"]:
        return _pip(words[words.index("install") :], environ)
    judge = _JUDGES.get(name)
    return judge(words[1:]) if judge is not None else None


def built_images(programs: Iterable[Program]) -> frozenset[str]:
    """Return the names that commands give to images which they build."""
    return frozenset(
        word
        for program in programs
        if "build" in (words := _container_words(program))
        for before, word in pairwise(words)
        if before in ("-t", "--tag")
    )


def runs_what_it_fetches(programs: Sequence[Program], text: str) -> Program | None:
    """Return the command that fetches something which a shell or an interpreter then runs; None when there is none.

    Args:
        programs: Of one step, in order.
        text: Its script.
    """
    for at, program in enumerate(programs):
        if program.name.lower() in _FETCHES and _ends_in_a_shell(programs[at:]):
            return program
        words = [word.text for word in program.words]
        if _FETCHED_WORD.match(words[0]) or (words[0] in _EVALUATES and any(map(_FETCHED_WORD.match, words[1:]))):
            return program
    if not programs or not _FETCHED_FILE.search(text):
        return None
    return next((program for program in programs if program.name.lower() in _FETCHES), programs[0])


def _ends_in_a_shell(programs: Sequence[Program]) -> bool:
    """Whether a pipe leads from the first of these commands into one that takes its input for a script."""
    for before, program in pairwise(programs):
        if before.command.before not in ("|", "|&"):
            return False
        if _takes_script(program):
            return True
    return False


def _takes_script(program: Program) -> bool:
    name, words = program.name.lower(), [word.text for word in program.words[1:]]
    if name in ("iex", "invoke-expression"):
        return True
    if name in _SHELLS:
        return "-s" in words or not _verbs(words, 1)
    return bool(_INTERPRETER.match(name)) and not any(word != "-" for word in words if word not in _HARMLESS)


def _container_words(program: Program) -> list[str]:
    words = [word.text for word in program.command.words]
    names = [word.rsplit("/", 1)[-1] for word in words]
    at = next((at for at, name in enumerate(names[:4]) if name in ("docker", "podman")), None)
    return [] if at is None else words[at + 1 :]


def _python(words: Sequence[str], environ: Mapping[str, str]) -> str | None:
    while words and words[0].startswith("-") and words[0] != "-m":
        words = words[1:]  # python's own flags
    if list(words[:2]) == ["-m", "pip"]:
        return _pip(words[2:], environ)
    if len(words) > 1 and words[0] == "-m":
        judge = _JUDGES.get(words[1])
        return judge(words[2:]) if judge is not None else None
    return None


def _pip(words: Sequence[str], environ: Mapping[str, str]) -> str | None:
    while words and words[0].startswith("-"):
        words = words[1:]
    if list(words[:1]) != ["install"] or _is_checked(words, environ):
        return None
    named = [
        word for word in _positional(_without_editable(words[1:])) if not _SUM.search(word) and not _LOCAL.match(word)
    ]
    if not named and any(word.startswith(("-r", "--requirement")) for word in words):
        return "the requirements are installed without --require-hashes"
    return f"{named[0]!r} is installed without its checksum" if named else None


def _is_checked(words: Iterable[str], environ: Mapping[str, str]) -> bool:
    told = environ.get("PIP_REQUIRE_HASHES") or environ.get("UV_REQUIRE_HASHES") or ""
    return bool({"--require-hashes", "--no-index"} & set(words)) or told.lower() in ("1", "true", "yes", "on")


def _without_editable(words: Sequence[str]) -> list[str]:
    """Leave out `-e .`: it installs what is in the checkout."""
    return [
        word
        for before, word in zip(["", *words], words, strict=False)
        if word not in ("-e", "--editable") and before not in ("-e", "--editable")
    ]


def _positional(words: Sequence[str]) -> list[str]:
    return [
        word
        for before, word in zip(["", *words], words, strict=False)
        if not word.startswith("-") and not _FLAG_WITH_VALUE.fullmatch(before)
    ]


def _verbs(words: Sequence[str], count: int) -> list[str]:
    return [word for word in words if not word.startswith("-")][:count]


def _always(*verbs: str) -> Loose:
    """Judge a program of which these verbs take what the index has, whatever their flags."""

    def judge(words: Sequence[str]) -> str | None:
        told = _verbs(words, 3)
        for verb in verbs:
            wanted = verb.split()
            if told[: len(wanted)] == wanted and len(told) > len(wanted):
                return f"{told[len(wanted)]!r} is installed without its checksum"
        return None

    return judge


def _runs(words: Sequence[str]) -> str | None:
    if {"--no", "--no-install", "--offline", "--version", "--help"} & set(words) or not (named := _verbs(words, 1)):
        return None
    return f"{named[0]!r} is fetched and runs without its checksum"


def _uv(words: Sequence[str]) -> str | None:
    verbs = _verbs(words, 2)
    if verbs[:1] == ["sync"] and not {"--locked", "--frozen"} & set(words):
        return "`uv sync` may choose other packages than the lock file, without --locked"
    if verbs[:1] == ["run"] and any(word.split("=")[0] == "--with" for word in words):
        return "a package of `--with` is installed without its checksum"
    if verbs == ["pip", "sync"] and "--require-hashes" not in words:
        return "the requirements are installed without --require-hashes"
    return _always("tool install", "tool run", "add")(words)


def _npm(words: Sequence[str]) -> str | None:
    verb = _verbs(words, 1)
    if verb in (["exec"], ["x"]):
        return _runs(words[words.index(verb[0]) + 1 :])
    if verb in (["install"], ["i"]) and not [each for each in _verbs(words, 2)[1:] if not _LOCAL.match(each)]:
        return None if {"-g", "--global"} & set(words) else _NPM_CI
    return _always("install", "i", "add", "create", "init")(words)


def _signed(*verbs: str) -> Loose:
    """Judge a manager of packages that a distribution signs: an exact version is pinned enough."""

    def judge(words: Sequence[str]) -> str | None:
        told = _positional(words)
        if not told or told[0] not in verbs:
            return None
        if _UNSIGNED & set(words):
            return "packages are installed without a look at their signatures"
        named = [each for each in told[1:] if not _LOCAL.match(each) and not _SIGNED_VERSION.fullmatch(each)]
        return f"{named[0]!r} is installed in whatever version there is" if named else None

    return judge


def _pacman(words: Sequence[str]) -> str | None:
    if not any(re.fullmatch(r"-S[a-z]*|--sync", word) for word in words):
        return None
    return _signed("-S")(["-S", *words]) or next(
        (f"{word!r} is installed in whatever version there is" for word in words if not word.startswith("-")), None
    )


def _go(words: Sequence[str]) -> str | None:
    if _verbs(words, 1) not in (["install"], ["run"], ["get"]):
        return None
    moving = [word for word in words if re.match(r"[\w.-]+\.[a-z]+/.*@", word) and not _GO_VERSION.search(word)]
    return f"{moving[0]!r} is another version tomorrow" if moving else None  # sum.golang.org has sums of versions


def _cargo(words: Sequence[str]) -> str | None:
    pinned = any(
        word.split("=")[0] in ("--version", "--rev", "--path") or re.search(r"\w@=?\d", word) for word in words
    )
    return None if pinned and "--locked" in words else _always("install", "binstall")(words)


def _conda(words: Sequence[str]) -> str | None:
    told = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if not word.startswith("-")
        and before not in ("-n", "--name", "-p", "--prefix", "-c", "--channel", "-f", "--file")
    ]
    return (
        f"{told[1]!r} is installed without its checksum" if told[:1] in (["install"], ["create"]) and told[1:] else None
    )


def _image(words: Sequence[str], built: Collection[str]) -> str | None:
    told = list(words)
    while told and told[0].startswith("-"):
        told = told[1:] if told[0] in _NO_VALUE or "=" in told[0] else told[2:]
    if told[:1] == ["container"]:
        told = told[1:]
    if told[:1] not in (["run"], ["pull"], ["create"]):
        return None
    image = _first_positional(told[1:])
    if image is None or image in built or "$" in image or _DIGEST.search(image):
        return None
    return f"the image {image!r} is another one when its tag moves, without its digest"


def _first_positional(words: Sequence[str]) -> str | None:
    """Return the image: flags with a value are all but the known others; `-it` and `-v` are told by their letters."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        word = words[at]
        alone = (
            word in _NO_VALUE or "=" in word or re.fullmatch(r"-[itdPqa]+", word) or re.fullmatch(r"-[a-zA-Z].+", word)
        )
        at += 1 if alone else 2
    return words[at] if at < len(words) else None


_JUDGES: Final[Mapping[str, Loose]] = {
    "uv": _uv, "uvx": _runs, "pipx": _always("install", "run", "inject", "upgrade"),
    "poetry": _always("add", "self add"), "pdm": _always("add"), "pipenv": _always("install"),
    "conda": _conda, "mamba": _conda, "micromamba": _conda,
    "npm": _npm, "npx": _runs, "bunx": _runs, "pnpx": _runs, "yarn": _always("add", "dlx", "global add"),
    "pnpm": _always("add", "dlx"), "bun": _always("add", "x"), "gem": _always("install"), "bundle": _always("add"),
    "cargo": _cargo, "go": _go, "composer": _always("require", "global require"),
    "dotnet": _always("tool install"), "gh": _always("extension install"),
    "brew": _always("install"), "choco": _always("install", "upgrade"), "winget": _always("install"),
    "scoop": _always("install"), "snap": _always("install"),
    "install-module": _runs, "install-package": _runs, "install-script": _runs,
    "apk": _signed("add"), "apt": _signed("install"), "apt-get": _signed("install"), "dnf": _signed("install"),
    "yum": _signed("install"), "microdnf": _signed("install"), "zypper": _signed("install", "in"), "pacman": _pacman,
}  # fmt: skip
