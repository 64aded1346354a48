"""Jenkinsfiles -> `Workflow`: enough of the Groovy to find `sh` steps and what is wrapped around them.

Knows: workflow, operations, scripts. It reads blocks, calls and string literals, declarative and scripted alike; what
Groovy code computes is unknown. Source: Jenkins' Pipeline syntax reference, read 2026-11. Nothing is rendered for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from interlock.ci.document import SourceText
from interlock.ci.operations import Operation, Retry
from interlock.ci.scripts import Effects, Scripts
from interlock.ci.workflow import (
    ANY_REF,
    MAX_STEPS,
    Artifact,
    Image,
    Job,
    Limit,
    Problem,
    Step,
    Turn,
    Variable,
    Vendor,
    Workflow,
)
from interlock.source.tree import SourceUnreadable, Span, Tree

MAX_TEXT_BYTES = 512 * 1024
MAX_ARGUMENTS = 2_000  # tokens of one call's arguments that are looked at
MAX_NESTING = 200  # of blocks

_TOKEN = re.compile(
    r"(?P<skip>\s+|//[^\n]*|/\*.*?\*/)"
    r"|(?P<text>'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\")"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<number>\d+)|(?P<other>.)",
    re.DOTALL,
)
_UNIT_S = {"SECONDS": 1.0, "MINUTES": 60.0, "HOURS": 3600.0, "DAYS": 86400.0}
_VARIABLES = frozenset({"variable", "usernameVariable", "passwordVariable", "accessKeyVariable", "secretKeyVariable"})
_SURVIVING = frozenset({"always", "cleanup", "aborted"})
_WAITS = frozenset({"sleep"})


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # text, name, number, other
    text: str
    start: int
    end: int

    @property
    def value(self) -> str:
        """A literal's content, as written."""
        quotes = 3 if self.text[:3] in ("'''", '"""') else 1
        return self.text[quotes:-quotes]

    @property
    def inner(self) -> int:
        """Where a literal's content begins."""
        return self.start + (3 if self.text[:3] in ("'''", '"""') else 1)


@dataclass(slots=True)
class _Block:
    """One `name(arguments) { … }` that is open."""

    name: str
    token: _Token
    arguments: list[_Token] = field(default_factory=list)
    ref: str = ""


def read(tree: Tree, path: str, *, root: str) -> Workflow:
    """Read a Jenkinsfile of the repository at `root`."""
    start = SourceText(path, "").span(0, 0)
    try:
        content = tree.read(path) or b""
    except SourceUnreadable as error:
        return Workflow(
            vendor=Vendor.JENKINS, path=path, span=start, problems=(Problem(span=start, message=error.what),)
        )
    if len(content) > MAX_TEXT_BYTES:
        large = Problem(span=start, message=f"the file is larger than {MAX_TEXT_BYTES // 1024} KiB")
        return Workflow(vendor=Vendor.JENKINS, path=path, span=start, problems=(large,))
    reader = _Reader(SourceText(path, content.decode("utf-8", "replace")), Scripts(tree, root))
    return Workflow(vendor=Vendor.JENKINS, path=path, span=start, jobs=reader.jobs())


class _Reader:
    def __init__(self, source: SourceText, scripts: Scripts) -> None:
        self._source = source
        self._scripts = scripts
        self._tokens = [
            _Token(str(match.lastgroup), match.group(), match.start(), match.end())
            for match in _TOKEN.finditer(source.text)
            if match.lastgroup != "skip"
        ]
        self._blocks: list[_Block] = []
        self._steps: list[Step] = []
        self._turns: list[Turn] = []
        self._limits: list[Limit] = []
        self._environment: list[Variable] = []
        self._artifacts: list[Artifact] = []
        self._image: Image | None = None

    def jobs(self) -> tuple[Job, ...]:
        """Return the pipeline as one job: its stages run one after the other and share what is said of the whole."""
        self._walk()
        if not self._steps:
            return ()
        first = next((token for token in self._tokens if token.text in ("pipeline", "node")), self._tokens[0])
        job = Job(
            name="pipeline",
            span=self._span(first),
            steps=tuple(self._steps),
            variables=tuple(self._environment),
            turns=tuple(self._turns),
            limit=self._limits[0] if self._limits else None,
            artifacts=tuple(self._artifacts),
            image=self._image,
        )
        return (job,)

    def _span(self, token: _Token) -> Span:
        return self._source.span(token.start, token.end)

    def _walk(self) -> None:
        index = 0
        while index < len(self._tokens):
            token = self._tokens[index]
            if token.text == "}" and token.kind == "other":
                if self._blocks:
                    self._blocks.pop()
                index += 1
            elif token.kind == "name":
                index = self._called(index)
            else:
                if token.text == "{" and token.kind == "other":
                    self._open("", token, [])
                index += 1

    def _open(self, name: str, token: _Token, arguments: list[_Token]) -> None:
        if len(self._blocks) < MAX_NESTING:
            self._blocks.append(_Block(name, token, arguments))

    def _called(self, index: int) -> int:
        """Read a name with its arguments; returns the index behind what was taken."""
        token = self._tokens[index]
        arguments, behind = self._arguments(index + 1)
        if behind < len(self._tokens) and self._tokens[behind].text == "{":
            self._wrapped(token, arguments)
            self._open(token.text, token, arguments)
            return behind + 1
        self._call(token, arguments, index)
        # The arguments of other calls are walked too: they may hold closures and calls of their own.
        return behind if token.text in _TAKEN else index + 1

    def _arguments(self, index: int) -> tuple[list[_Token], int]:
        """Return the tokens of `(…)`, or of a call without brackets up to the line's end."""
        tokens = self._tokens
        if index >= len(tokens):
            return [], index
        if tokens[index].text == "(":
            depth, end = 0, index
            while end < min(len(tokens), index + MAX_ARGUMENTS):
                depth += {"(": 1, ")": -1}.get(tokens[end].text, 0) if tokens[end].kind == "other" else 0
                end += 1
                if depth == 0:
                    break
            return tokens[index + 1 : end - 1], end
        end = index
        while end < min(len(tokens), index + MAX_ARGUMENTS) and tokens[end].text not in ("{", "}", ";"):
            if self._new_line(tokens[end - 1], tokens[end]):
                break
            end += 1
        return tokens[index:end], end

    def _new_line(self, left: _Token, right: _Token) -> bool:
        return left.text not in (",", "[", ":", "(") and "\n" in self._source.text[left.end : right.start]

    def _wrapped(self, token: _Token, arguments: list[_Token]) -> None:
        """Note what a block says of everything in it."""
        if token.text == "lock":
            self._turn(token, arguments)
        elif token.text == "timeout":
            self._limit(token, arguments)

    def _call(self, token: _Token, arguments: list[_Token], index: int) -> None:
        match token.text:
            case "sh":
                self._shell(token, arguments)
            case "disableConcurrentBuilds" | "lock":
                self._turn(token, arguments)
            case "timeout":
                self._limit(token, arguments)
            case "archiveArtifacts":
                self._archive(arguments)
            case "image":
                self._container(arguments)
            case "branch":
                self._condition(arguments)
            case _:
                self._assignment(token, index)

    def _turn(self, token: _Token, arguments: list[_Token]) -> None:
        names = [argument for argument in arguments if argument.kind == "text"]
        values = _named(arguments)
        cancels = values.get("abortPrevious")
        key = names[0].value if names and token.text == "lock" else ""
        self._turns.append(
            Turn(
                key=key,
                span=self._span(names[0] if key else token),
                keeps_all=True,
                cancels=cancels is not None and cancels.text == "true",
                cancel_span=self._span(cancels) if cancels is not None else None,
                follows_ref=re.search(r"BRANCH_NAME|GIT_BRANCH|CHANGE_ID|BUILD_(?:ID|NUMBER)", key) is not None,
            )
        )

    def _limit(self, token: _Token, arguments: list[_Token]) -> None:
        values = _named(arguments)
        amount = values.get("time") or next((one for one in arguments if one.kind == "number"), None)
        unit = values.get("unit")
        factor = _UNIT_S.get(unit.value if unit is not None and unit.kind == "text" else "MINUTES", 60.0)
        seconds = float(amount.text) * factor if amount is not None and amount.kind == "number" else None
        self._limits.append(Limit(seconds=seconds, span=self._span(amount or token)))

    def _archive(self, arguments: list[_Token]) -> None:
        named = _named(arguments).get("artifacts")
        token = named or next((one for one in arguments if one.kind == "text"), None)
        if token is not None and token.kind == "text":
            paths = [part.strip() for part in token.value.split(",") if part.strip()]
            places = [token.inner + token.value.index(path) for path in paths]
            spans = tuple(self._source.span(at, at + len(path)) for at, path in zip(places, paths, strict=True))
            self._artifacts.append(Artifact(paths=tuple(paths), spans=spans))

    def _container(self, arguments: list[_Token]) -> None:
        token = next((one for one in arguments if one.kind == "text"), None)
        if token is not None and any(block.name == "docker" for block in self._blocks):
            self._image = Image(name=token.value, span=self._source.span(token.inner, token.end - 1))

    def _assignment(self, token: _Token, index: int) -> None:
        behind = self._tokens[index + 1 : index + 3]
        inside = bool(self._blocks) and self._blocks[-1].name == "environment"
        if inside and len(behind) == 2 and behind[0].text == "=":  # noqa: PLR2004 - the sign and the value
            value = behind[1].value if behind[1].kind == "text" else ""
            self._environment.append(Variable(name=token.text, value=value, span=self._span(token)))

    def _condition(self, arguments: list[_Token]) -> None:
        """`when { branch 'main' }` holds for the stage around it."""
        token = next((one for one in arguments if one.kind == "text"), None)
        if token is not None and len(self._blocks) > 1 and self._blocks[-1].name == "when":
            self._blocks[-2].ref = ANY_REF if set(token.value) & set("*?") else token.value

    def _shell(self, token: _Token, arguments: list[_Token]) -> None:
        script = _named(arguments).get("script") or next((one for one in arguments if one.kind == "text"), None)
        if script is None or script.kind != "text" or len(self._steps) >= MAX_STEPS:
            return

        def place(start: int, end: int) -> Span:
            return self._source.span(script.inner + start, min(script.inner + end, script.end))

        effects = self._scripts.effects(script.value, place, directory=self._directory())
        names = [block.name for block in self._blocks]
        self._steps.append(
            Step(
                span=self._span(token),
                text=script.value,
                programs=effects.programs,
                operations=self._repeated(effects),
                variables=tuple(self._credentials()),
                refs=self._refs(),
                survives="post" in names and bool(_SURVIVING & set(names)),
            )
        )

    def _repeated(self, effects: Effects) -> tuple[Operation, ...]:
        retry = next((block for block in reversed(self._blocks) if block.name == "retry"), None)
        if retry is None:
            return effects.operations
        waits = any(program.name in _WAITS for program in effects.programs)
        again = Retry(span=self._span(retry.token), waits=waits)
        return tuple(replace(operation, retry=operation.retry or again) for operation in effects.operations)

    def _directory(self) -> str:
        folders = [block.arguments[0].value for block in self._blocks if block.name == "dir" and _literal(block)]
        return "/".join(folders)

    def _credentials(self) -> Iterator[Variable]:
        for block in self._blocks:
            if block.name not in ("withCredentials", "withEnv", "withAWS"):
                continue
            for name, token in _named_all(block.arguments):
                if name in _VARIABLES and token.kind == "text":
                    yield Variable(name=token.value, value="", span=self._span(token))
            for token in block.arguments if block.name == "withEnv" else ():
                if token.kind == "text":
                    name, _, value = token.value.partition("=")
                    yield Variable(name=name, value=value, span=self._span(token))

    def _refs(self) -> frozenset[str]:
        return frozenset({next((block.ref for block in reversed(self._blocks) if block.ref), ANY_REF)})


_TAKEN = frozenset({"sh", "archiveArtifacts", "image", "disableConcurrentBuilds"})


def _literal(block: _Block) -> bool:
    return bool(block.arguments) and block.arguments[0].kind == "text"


def _named(arguments: list[_Token]) -> dict[str, _Token]:
    return dict(_named_all(arguments))


def _named_all(arguments: list[_Token]) -> Iterator[tuple[str, _Token]]:
    """Yield `name: value` pairs, also inside brackets."""
    for name, colon, value in zip(arguments, arguments[1:], arguments[2:], strict=False):
        if name.kind == "name" and colon.text == ":":
            yield name.text, value
