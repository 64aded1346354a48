"""Generated Jenkinsfiles, executed: the part of declarative pipelines that they use, read and run as Jenkins does.

`sh` runs with `-xe`, credentials are bound to their block alone, `post { always }` and `cleanup` run in any case, and
what is stashed is all that stages share. Jenkins' own validator needs a running controller, so the files are held to
this reader and to the one of `interlock lint`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.ci_jobs import KEYS, SECRETS, Outcome, Runner, installs

_TEXT = re.compile(r"'((?:[^'\\]|\\.)*)'")
CREDENTIALS = {
    "interlock-plan": (SECRETS["GENESYSCLOUD_OAUTHCLIENT_ID"], SECRETS["GENESYSCLOUD_OAUTHCLIENT_SECRET"]),
    "interlock-apply": (SECRETS["GENESYSCLOUD_OAUTHCLIENT_ID"], SECRETS["GENESYSCLOUD_OAUTHCLIENT_SECRET"]),
    "interlock-seal-key": (KEYS.seal,),
    "interlock-plan-key": (KEYS.plan,),
}
TOKENS = ("interlock-plan-token", "interlock-apply-token")
"""Credentials of a pipeline at a server; whoever builds gives them."""


@dataclass(kw_only=True)
class Block:
    """`head { … }`: blocks and statements in order."""

    head: str
    parts: list[Block | str] = field(default_factory=list)

    def blocks(self, name: str) -> Iterator[Block]:
        """Yield the blocks directly in it that are called so."""
        return (part for part in self.parts if isinstance(part, Block) and part.head.split("(")[0] == name)

    def every(self, name: str) -> Iterator[Block]:
        """Yield all blocks below it that are called so."""
        for part in self.parts:
            if isinstance(part, Block):
                if part.head.split("(")[0] == name:
                    yield part
                yield from part.every(name)

    def one(self, name: str) -> Block:
        """Return the block called so, or an empty one."""
        return next(self.blocks(name), Block(head=name))

    def statements(self) -> list[str]:
        """Return the statements directly in it."""
        return [part for part in self.parts if isinstance(part, str)]


def read(text: str) -> Block:
    """Read a Jenkinsfile of ours: a line is a statement, opens a block, or closes one."""
    open_blocks = [Block(head="")]
    lists = re.compile(r"withCredentials\(\[\n(.*?)\n\s*\]\)", re.DOTALL)
    joined = lists.sub(lambda found: f"withCredentials([{found[1]}])", text)
    joined = re.sub(r",\n\s*", ", ", joined)
    for line in (re.sub(r"(^|\s)//.*", "", line).strip() for line in joined.splitlines()):
        if line == "}":
            closed = open_blocks.pop()
            open_blocks[-1].parts.append(closed)
        elif line.endswith("{"):
            open_blocks.append(Block(head=line.removesuffix("{").strip()))
        elif match := re.fullmatch(r"(\w+) \{ (.*) \}", line):
            open_blocks[-1].parts.append(Block(head=match[1], parts=[match[2]]))
        elif line:
            open_blocks[-1].parts.append(line)
    assert len(open_blocks) == 1, "every block is closed"
    return open_blocks[0]


def text_of(statement: str) -> str:
    """Return the last text in single quotes of a statement, as Groovy reads it."""
    return re.sub(r"\\(.)", r"\1", _TEXT.findall(statement)[-1])


@dataclass(kw_only=True)
class Build:
    """One build of a job.

    Attributes:
        runner: The machine.
        file: The Jenkinsfile.
        number: Of the build.
        variables: What Jenkins says of the build: `BRANCH_NAME`, `CHANGE_TARGET`, `CHANGE_FORK`.
        approved: What the people answer who are asked.
        tokens: By the name of the credential, tokens of a server.
    """

    runner: Runner
    file: str
    number: int = 1
    variables: dict[str, str] = field(default_factory=dict)
    approved: bool = True
    tokens: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pipeline = read((self.runner.checkout / self.file).read_text())
        self.outcomes: list[Outcome] = []
        self.asked: list[str] = []
        self._stashes: dict[str, dict[str, bytes]] = {}
        self._env: dict[str, str] = {}

    def stages(self) -> list[Block]:
        """Return the stages that have steps, in order."""
        return [stage for stage in self.pipeline.every("stage") if any(stage.blocks("steps"))]

    def run(self) -> list[Outcome]:
        """Run the stages one after the other; the ones behind a failed one are not run."""
        for stage in self.stages():
            if any(outcome.code for outcome in self.outcomes) or not self._is_wanted(stage):
                continue
            if any(stage.blocks("input")) and not self._asks(stage):
                break
            self.run_stage(stage)
        return self.outcomes

    def run_stage(self, stage: Block) -> None:
        """Run the steps of a stage, and what comes after them."""
        environ = self.environ(stage)
        self._steps(stage.one("steps"), environ)
        failed = any(outcome.code for outcome in self.outcomes)
        for name in ("always", *(("failure",) if failed else ()), "cleanup"):
            self._steps(stage.one("post").one(name), environ)

    def environ(self, stage: Block) -> dict[str, str]:
        """Return the environment of a stage's steps."""
        pairs = (line.partition(" = ") for line in stage.one("environment").statements())
        return {
            "BUILD_TAG": f"jenkins-interlock-{self.number}",
            "BUILD_NUMBER": str(self.number),
            "JENKINS_URL": "https://jenkins.example/",
            "JENKINS_NODE_COOKIE": "cookie-1",
            "WORKSPACE_TMP": str(self.runner.temp),
            **self.variables,
            **{name: text_of(value) for name, _, value in pairs},
            **self._env,
        }

    def bound(self, head: str) -> dict[str, str]:
        """Return what `withCredentials` and `withEnv` give the steps in them."""
        if head.startswith("withEnv"):
            name, _, value = text_of(head).partition("=")
            return {name: value}
        found: dict[str, str] = {}
        for call in re.findall(r"\w+\(([^()]*)\)", head.removeprefix("withCredentials(")):
            named = dict(re.findall(r"(\w+): '([^']*)'", call))
            names = [named[key] for key in ("variable", "usernameVariable", "passwordVariable") if key in named]
            found |= dict(zip(names, self._secret(named["credentialsId"]), strict=True))
        return found

    def _secret(self, name: str) -> tuple[str, ...]:
        return (self.tokens[name],) if name in TOKENS else CREDENTIALS[name]

    def script(self, statement: str) -> str:
        """Return an `sh` step's script, with Interlock where the tests have it."""
        return text_of(statement).replace('"$WORKSPACE_TMP/interlock/bin/interlock"', "interlock")

    def _is_wanted(self, stage: Block) -> bool:
        when = stage.one("when")
        wanted = True
        for line in when.statements():
            if line.startswith("changeRequest target:"):
                wanted = wanted and self.variables.get("CHANGE_TARGET") == text_of(line)
        for block in when.blocks("expression"):
            assert block.statements() == ["!env.CHANGE_FORK"]
            wanted = wanted and not self.variables.get("CHANGE_FORK")
        return wanted

    def _asks(self, stage: Block) -> bool:
        message = stage.one("input").statements()[0]
        self.asked.append(re.sub(r"\$\{env\.(\w+)\}", lambda found: self._env[found[1]], message))
        return self.approved

    def _steps(self, block: Block, environ: Mapping[str, str]) -> bool:
        for part in block.parts:
            if isinstance(part, Block):
                if part.head == "script":
                    self._assign(part, environ)
                elif not self._steps(part, {**environ, **self.bound(part.head)}):
                    return False
            elif not self._step(part, environ):
                return False
        return True

    def _step(self, step: str, environ: Mapping[str, str]) -> bool:
        """Run one step; say whether the next one runs."""
        checkout = self.runner.checkout
        if step.startswith("sh "):
            if installs(step):
                return True
            self.outcomes.append(self.runner.shell(step, self.script(step), environ, options="-xe"))
            return self.outcomes[-1].code == 0
        if step.startswith("stash "):
            name, kept = _TEXT.findall(step)
            self._stashes[name] = {kept: (checkout / kept).read_bytes()}
        elif step.startswith("unstash "):
            for name, content in self._stashes[text_of(step)].items():
                (checkout / name).write_bytes(content)
        elif step == "deleteDir()":
            for path in (*checkout.glob("plan*"), checkout / "interlock.env", checkout / "infra/.terraform"):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        else:
            assert step == "checkout scm" or step.startswith("archiveArtifacts"), step
        return True

    def _assign(self, block: Block, environ: Mapping[str, str]) -> None:
        for line in block.statements():
            match = re.fullmatch(r"env\.(\w+) = sh\(returnStdout: true, script: '(.*)'\)\.trim\(\)", line)
            assert match, line
            outcome = self.runner.shell(line, match[2], environ, options="-xe")
            assert outcome.code == 0
            self._env[match[1]] = outcome.out.strip()


def summary(outcomes: list[Outcome]) -> list[tuple[str, int]]:
    """Return what each step did: Interlock's verb, and its status."""
    verbs = [re.findall(r"interlock\"? ((?:ci )?[a-z-]+)", one.name)[0] for one in outcomes]
    return list(zip(verbs, (one.code for one in outcomes), strict=True))
