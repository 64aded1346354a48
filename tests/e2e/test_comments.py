"""Comments on pull requests approve what CI jobs ask for: a real server, real Terraform, a code host that signs."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.code_host import comment, deliver, github_event, github_headers, gitlab_event, gitlab_headers
from tests.desk import Answer, Desk
from tests.identity_issuer import GITHUB, GITLAB, Issuer, identity_issuer
from tests.replicas import TOKEN, Replica

from interlock.testing.postgres import why_not

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ONE = 'resource "terraform_data" "one" { input = "1" }\n'
STATE = "prod/routing"
APPROVER, AUTHOR, STRANGER = 583231, 12, 999  # `actor_id` of the jobs is 12


@dataclass(slots=True)
class Place:
    """A server with a hook, an administrator, and the job of a pipeline."""

    servers: list[Replica]
    admin: Desk
    job: Desk
    issuer: Issuer
    url: str = ""
    secret: str = ""

    def add_hook(self, name: str = "prs", *, persons: tuple[int, ...] = (APPROVER, AUTHOR), more: int = 0) -> None:
        said = [word for person in persons for word in ("--person", f"{person}=someone")]
        said += [word for person in range(5, 5 + more) for word in ("--person", f"{person}=another")]
        words = ("--platform", "github", "--repository-id", "74", "--states", "prod/**", *said)
        made = self.admin.run("hook", "add", name, *words, "--json")
        assert made.code == 0, made.err
        self.url, self.secret = made.document["url"], made.document["secret"]

    def login(self, **claims: str) -> None:
        """Log in as a job of GitHub does: with an identity token that is signed for it."""
        self.issuer.job = {**GITHUB, **claims}
        done = self.job.run("ci", "login", "--state", STATE, "--role", "runner", "--out", self.job.folder / "token")
        assert done.code == 0, done.err
        self.job.environ["INTERLOCK_TOKEN"] = (self.job.folder / "token").read_text().strip()

    def apply(self, *words: object) -> Answer:
        return self.job.run("apply", self.job.module(text=ONE), "--state", STATE, "--auto-approve", *words)

    def asked(self, **claims: str) -> str:
        """Let a job ask for approval; return the request."""
        self.login(**claims)
        told = self.apply("--json")
        assert told.code == 41, told.err
        return str(told.document["approval"])

    def shown(self, request: str) -> dict[str, Any]:
        told: dict[str, Any] = self.admin.run("approvals", "show", request, "--json").document
        return told

    def comments(self, text: str, **more: Any) -> dict[str, Any]:
        return comment(self.url, self.secret, github_event(text, **more))

    def line(self, request: str, *, verdict: str = "approve", reason: str = "seen with the routing team") -> str:
        return f"/interlock {verdict} {request} {digest_of(self.shown(request))} {reason}"

    def audit(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.admin.run("audit", "ls", "--json").document["entries"]
        return found


def digest_of(shown: dict[str, Any]) -> str:
    return str(shown["digest"]).removeprefix("sha256:")[:16]


STORES = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")),
]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    kind = getattr(request, "param", "sqlite")
    address = f"sqlite:{tmp_path / 'server.db'}"
    if kind == "postgresql":
        address = f"{request.getfixturevalue('postgres').url}&schema=s{uuid.uuid4().hex[:12]}"
    key = tmp_path / "key"
    maker = Desk(tmp_path / "maker")
    maker.folder.mkdir()
    made = maker.run("encryption", "new-key")
    assert made.code == 0, made.err
    key.write_text(made.out)
    key.chmod(0o600)
    monkeypatch.setenv("INTERLOCK_ENCRYPTION_KEY_FILE", str(key))
    servers = [Replica(address, tmp_path / f"server{n}") for n in range(2 if kind == "postgresql" else 1)]
    at = servers[0].said["address"]
    with identity_issuer() as issuer:
        admin = Desk(tmp_path / "admin", {"INTERLOCK_SERVER": at, "INTERLOCK_TOKEN": TOKEN})
        job = Desk(
            tmp_path / "job",
            {
                "INTERLOCK_SERVER": at,
                "GITHUB_ACTIONS": "true",
                "ACTIONS_ID_TOKEN_REQUEST_URL": f"{issuer.url}/job?api-version=2",
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "bearer-of-this-job",
            },
        )
        for desk in (admin, job):
            desk.folder.mkdir()
        trusted = ("--platform", "github", "--issuer", issuer.url, "--role", "runner", "--states", "prod/**")
        claims = ("--claim", "repository_id=74", "--claim", "ref=refs/heads/main")
        assert admin.run("trust", "add", "jobs", *trusted, *claims).code == 0
        policies = admin.folder / "policies.yaml"
        policies.write_text(json.dumps({"policies": [{"name": "production", "states": "prod/**", "approvals": 1}]}))
        assert admin.run("policies", "set", policies).code == 0
        yield Place(servers, admin, job, issuer)
        for desk in (admin, job):
            desk.close()
    for server in servers:
        assert server.end() == 0, "it took requests to its end"


@pytest.mark.promise("P8")
@pytest.mark.parametrize("place", STORES, indirect=True)
def test_a_comment_approves_the_plan_and_the_same_job_applies_it(place: Place) -> None:
    place.add_hook()
    place.login()
    asked = place.apply()
    assert asked.code == 41, asked.err
    (line,) = [part for part in asked.err.split("    ") if "/interlock approve" in part]
    typed = line.partition("pull request: ")[2].strip()
    request = typed.split()[2]
    shown = place.admin.run("approvals", "show", request)
    assert typed in shown.out
    assert "/interlock reject" in shown.out
    assert "began by  github:12" in shown.out
    at_run = place.job.run("runs", "show", request)
    assert typed in at_run.out + at_run.err, at_run

    heard = place.comments(typed.replace("REASON", "reviewed with the routing team"))
    assert (heard["outcome"], heard["standing"], heard["state"]) == ("approved", "approved", STATE)
    (said,) = place.shown(request)["decisions"]
    assert (said["who"], said["reason"]) == ("github:583231 (octocat)", "reviewed with the routing team")
    assert said["via"].startswith("comment https://github.com/octo-org/octo-repo/pull/7#issuecomment-")

    for words in (("runs", "show", request), ("approvals", "show", request)):
        told = place.job.run(*words)
        assert "github:583231 (octocat)" in told.out, told
        assert "issuecomment-" in told.out, "where it was approved"
        assert "approved: 1 of 1 (policy production)" in told.out

    applied = place.job.run("apply", "--run", request)
    assert applied.code == 0, applied.err
    entry = next(each for each in place.audit() if each["action"] == "approved")
    assert entry["by"] == "github:583231 (octocat)"
    assert "issuecomment" in entry["facts"]["via"]
    assert place.admin.run("audit", "verify").code == 0


@pytest.mark.promise("P10")
@pytest.mark.parametrize("place", STORES, indirect=True)
def test_a_comment_counts_once_at_all_replicas_and_a_repetition_does_nothing(place: Place) -> None:
    place.add_hook()
    request = place.asked()
    event = github_event(place.line(request).replace(digest_of(place.shown(request)), "0" * 16))
    assert comment(place.url, place.secret, event)["outcome"] == "refused"
    length = len(place.audit())
    for server in place.servers * 2:  # with another delivery id each time: that header is not signed
        at = place.url.replace(place.servers[0].said["address"], server.said["address"])
        assert comment(at, place.secret, event)["outcome"] == "repeated"
    assert len(place.audit()) == length
    good = github_event(place.line(request))
    heard = [
        comment(place.url.replace(place.servers[0].said["address"], server.said["address"]), place.secret, good)
        for server in place.servers * 2
    ]
    assert [each["outcome"] for each in heard] == ["approved", *(["repeated"] * (len(heard) - 1))]
    assert len(place.shown(request)["decisions"]) == 1


@pytest.mark.promise("P10")
def test_only_the_persons_of_the_hook_decide_and_none_approves_what_they_began(place: Place) -> None:
    place.add_hook()
    place.admin.run("hook", "add", "staging", "--platform", "github", "--repository-id", "74", "--states",
                    "staging/**", "--person", f"{APPROVER}=octocat")  # fmt: skip
    request = place.asked()
    before = len(place.audit())

    stranger = place.comments(place.line(request), person=STRANGER)
    assert (stranger["outcome"], stranger["problem"]["status"]) == ("refused", 403)
    foreign = place.comments(place.line(request), repository=75)
    assert (foreign["outcome"], "repository 75" in foreign["why"]) == ("refused", True)
    edited = github_event(place.line(request))
    edited["action"] = "edited"
    assert comment(place.url, place.secret, edited)["outcome"] == "ignored"
    on_issue = github_event(place.line(request))
    del on_issue["issue"]["pull_request"]
    assert comment(place.url, place.secret, on_issue)["outcome"] == "ignored"
    assert place.comments("looks good to me")["outcome"] == "ignored"
    assert len(place.audit()) == before, "nobody who may not decide fills the log"

    own = place.comments(place.line(request), person=AUTHOR, login="anna")
    assert (own["outcome"], own["problem"]["kind"]) == ("refused", "PolicyGate")
    assert "they asked for it" in own["why"]
    stale = place.comments(f"/interlock approve {request} {'0' * 16} seen")
    assert (stale["outcome"], "another plan" in stale["problem"]["title"]) == ("refused", True)
    malformed = place.comments(f"/interlock approve {request}")
    assert (malformed["outcome"], "REASON" in malformed["problem"]["next"]) == ("refused", True)
    assert [each["action"] for each in place.audit()][before:] == ["comment-refused"] * 3
    assert place.shown(request)["decisions"] == []
    assert place.job.run("apply", "--run", request).code == 41

    rejected = place.comments(place.line(request, verdict="reject", reason="after the holidays"))
    assert (rejected["outcome"], rejected["standing"]) == ("rejected", "rejected")
    late = place.comments(place.line(request))
    assert (late["outcome"], "cannot be decided" in late["problem"]["title"]) == ("refused", True)
    assert place.job.run("apply", "--run", request).code == 41


@pytest.mark.promise("P8")
def test_a_request_whose_beginner_no_token_names_is_not_approved_by_a_comment(place: Place) -> None:
    place.add_hook()
    words = ("apply", place.admin.module(text=ONE), "--state", STATE, "--auto-approve", "--json")
    asked = place.admin.run(*words)
    assert asked.code == 41, asked.err
    request = asked.document["approval"]
    shown = place.admin.run("runs", "show", request)
    assert "/interlock" not in asked.out + asked.err + shown.out + shown.err, "no line that would not do"
    refused = place.comments(place.line(request))
    assert (refused["outcome"], "not known which account" in refused["why"]) == ("refused", True)
    assert place.comments(place.line(request, verdict="reject"))["outcome"] == "rejected", "anybody may reject"


@pytest.mark.promise("P10")
def test_a_hook_is_made_once_listed_rotated_and_removed(place: Place) -> None:
    place.add_hook()
    first = (place.url, place.secret)
    place.add_hook()
    assert (place.url, place.secret) == (first[0], ""), "asked twice, and its secret is told once"
    other = ("hook", "add", "prs", "--platform", "github", "--repository-id", "75", "--states", "prod/**")
    refused = place.admin.run(*other, "--person", "1=x")
    assert (refused.code, "already" in refused.err) == (3, True), refused.err
    listed = place.admin.run("hook", "ls")
    assert (listed.code, "583231=someone" in listed.out, first[1] in listed.out) == (0, True, False), listed.out
    assert place.job.run("hook", "ls", environ={"INTERLOCK_TOKEN": "ilk_" + "0" * 12 + "_" + "a" * 43}).code == 32
    request = place.asked()
    changed = place.admin.run("hook", "change", "prs", "--person", f"{STRANGER}=newcomer")
    assert (changed.code, "newcomer" in changed.out, "prod/**" in changed.out) == (0, True, True), changed.err
    place.secret = first[1]
    assert place.comments(place.line(request))["outcome"] == "refused", "not listed any more"
    assert place.admin.run("hook", "change", "prs", "--states", "other/**").code == 0
    assert place.comments(place.line(request), person=STRANGER)["outcome"] == "refused", "another state"
    assert place.admin.run("hook", "change", "nosuch", "--states", "other/**").code == 3
    made = place.admin.run("hook", "rotate", "prs", "--json").document
    body = json.dumps(github_event(place.line(request))).encode()
    status, problem = deliver(first[0], body, github_headers(body, first[1]))
    assert (status, problem["code"]) == (401, "authentication"), problem
    place.secret = made["secret"]
    assert place.admin.run("hook", "remove", "prs").code == 0
    assert deliver(first[0], body, github_headers(body, made["secret"]))[0] == 401
    assert place.admin.run("hook", "remove", "prs").code == 3
    actions = [each["action"] for each in place.audit() if each["action"].startswith("hook-")]
    assert actions == ["hook-added", "hook-changed", "hook-changed", "hook-rotated", "hook-removed"]
    assert place.secret not in json.dumps(place.audit())


@pytest.mark.promise("P10")
def test_what_no_hook_signed_is_refused_before_it_is_read_and_leaves_nothing_behind(place: Place) -> None:
    place.add_hook()
    request = place.asked()
    body = json.dumps(github_event(place.line(request))).encode()
    signed = github_headers(body, place.secret)
    before, resident = len(place.audit()), resident_kb(place.servers[0])
    wrong = [
        {},
        {"X-Hub-Signature-256": "sha256=" + "0" * 64},
        {"X-Hub-Signature": signed["X-Hub-Signature-256"]},
        {"X-Gitlab-Token": place.secret},
        {"X-Hub-Signature-256": signed["X-Hub-Signature-256"].upper()},
        {"X-Hub-Signature-256": "sha256=\u00e9".encode().decode("latin-1")},
        github_headers(body + b" ", place.secret),
    ]
    for headers in wrong:
        status, problem = deliver(place.url, body, headers)
        assert (status, problem["kind"]) == (401, "AuthenticationFailed"), headers
    assert deliver(place.url.replace("prs", "other"), body, signed)[0] == 401
    assert deliver(place.url.replace("prs", "%00"), body, signed)[0] == 401
    for bad in (b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"comment": {"id": "x"}, "issue": 1}', b"a=b"):
        status, problem = deliver(place.url, bad, github_headers(bad, place.secret))
        assert (status, "no event" in problem["title"]) == (400, True), bad[:20]
    huge = b" " * (1024 * 1024 + 1)
    assert deliver(place.url, huge, github_headers(huge, place.secret))[0] == 413
    almost = b" " * (1024 * 1024)
    for _ in range(300):
        assert deliver(place.url, almost, {"X-Hub-Signature-256": "sha256=" + "0" * 64})[0] == 401
    assert len(place.audit()) == before
    assert resident_kb(place.servers[0]) - resident < 64 * 1024, "300 MB were sent to it, and none was kept"
    assert deliver(place.url, body, signed)[1]["outcome"] == "approved", "and the server goes on"


@pytest.mark.promise("P10")
def test_a_merge_request_of_gitlab_approves_by_its_signature_or_its_secret_token(place: Place) -> None:
    trusted = ("--platform", "gitlab", "--issuer", place.issuer.url, "--role", "runner", "--states", "prod/**")
    assert place.admin.run("trust", "remove", "jobs").code == 0
    claims = ("--claim", "project_id=20", "--claim", "ref_protected=true")
    assert place.admin.run("trust", "add", "gitlab", *trusted, *claims).code == 0
    made = place.admin.run("hook", "add", "mrs", "--platform", "gitlab", "--repository-id", "20", "--states", "prod/**",
                           "--person", "51=jsmith", "--person", "1=anna", "--json").document  # fmt: skip
    url, secret = made["url"], made["secret"]
    from datetime import UTC, datetime

    token = place.issuer.token(GITLAB, now_s=datetime.now(UTC).timestamp(), audience=place.servers[0].said["address"])
    for name in ("GITHUB_ACTIONS", "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
        del place.job.environ[name]
    place.job.environ |= {"GITLAB_CI": "true", "INTERLOCK_ID_TOKEN": token}
    login = place.job.run("ci", "login", "--state", STATE, "--role", "runner", "--print")
    assert login.code == 0, login.err
    place.job.environ["INTERLOCK_TOKEN"] = login.out.strip()
    told = place.apply("--json")
    assert told.code == 41, told.err
    request = told.document["approval"]
    line = place.line(request)

    def tells(event: dict[str, Any], headers: str = "signed", at_s: float | None = None) -> tuple[int, dict[str, Any]]:
        body = json.dumps(event).encode()
        given = gitlab_headers(body, secret, at_s=at_s) if headers == "signed" else {"X-Gitlab-Token": headers}
        return deliver(url, body, given)

    assert tells(gitlab_event(line), "wrong")[0] == 401
    assert tells(gitlab_event(line), at_s=datetime.now(UTC).timestamp() - 600)[0] == 401, "captured ten minutes ago"
    body = json.dumps(gitlab_event(line)).encode()
    forged = {**gitlab_headers(body, secret), "webhook-signature": "v1,AAAA", "X-Gitlab-Token": secret}
    assert deliver(url, body, forged)[0] == 401, "what says that it is signed never falls back to the token"
    for event in (
        gitlab_event(line, action="update"),
        gitlab_event(line, noteable_type="Issue"),
        gitlab_event(line, system=True),
        gitlab_event(line, action=""),
    ):
        assert tells(event)[1]["outcome"] == "ignored"
    assert tells(gitlab_event(line, person=1, login="anna"))[1]["outcome"] == "refused", "the job is hers"
    assert tells(gitlab_event(line), secret)[1]["outcome"] == "approved"
    assert place.job.run("apply", "--run", request).code == 0


def resident_kb(server: Replica) -> int:
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS:")).split()[1])
