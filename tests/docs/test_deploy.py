"""The files in deploy/ fit the schemas of the programs that read them, and name what the server has."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate
import pytest
from ruamel.yaml import YAML
from tests.deploy_files import DEPLOY, compose, dockerfile, image_environment, manifests, of_image, unit
from tests.docs.test_next_commands import parse

from interlock.backend.asgi import _Endpoints
from interlock.compose.serving import LINGER_S
from interlock.store.sealing import read_keys

ROOT = DEPLOY.parent
SECRET = re.compile(r"PASSWORD|TOKEN|KEY|SECRET")
OLDEST, NEWEST = "1.29", "1.37"  # of Kubernetes; between them nothing of ours was taken away
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


@functools.cache
def server() -> dict[str, Any]:
    """Return the container of the server."""
    container: dict[str, Any] = pod("Deployment")["containers"][0]
    return container


def pod(kind: str) -> dict[str, Any]:
    spec: dict[str, Any] = manifests()[kind]["spec"]["template"]["spec"]
    return spec


def told_in_kubernetes(container: dict[str, Any]) -> list[str]:
    """Return the words of a container's command, as the kubelet fills them in."""
    data = manifests()["ConfigMap"]["data"]
    values = {
        each["name"]: data[each["valueFrom"]["configMapKeyRef"]["key"]]
        for each in container["env"]
        if "configMapKeyRef" in each["valueFrom"]
    }
    return [re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], word) for word in container["args"]]


def commands() -> dict[str, list[str]]:
    """Return every command of ours that a file in deploy/ runs."""
    start = of_image("ENTRYPOINT").words
    return {
        "the image": start + of_image("CMD").words,
        "compose": start + compose()["services"]["server"]["command"],
        "kubernetes, server": start + told_in_kubernetes(server()),
        "kubernetes, migrate": start + told_in_kubernetes(pod("Job")["containers"][0]),
        "systemd": ["interlock", *shlex.split(unit()["ExecStart"][0])[1:]],
    }


# -- what others say of them ----


def test_the_compose_file_fits_the_schema_of_compose() -> None:
    text = resources.files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text()
    schema = json.loads(text)
    jsonschema.validate(compose(), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"services": {"server": {"imagee": "x"}}}, schema)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_manifests_fit_the_schemas_of_kubernetes(version: str) -> None:
    assert {"Deployment", "Job", "PodDisruptionBudget", "Service"} <= set(manifests())
    for manifest in manifests().values():
        kubernetes_validate.validate(manifest, version, strict=True)
    wrong = {**manifests()["Service"], "spec": {"selektor": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_kustomize_names_every_manifest() -> None:
    folder = DEPLOY / "kubernetes"
    named = YAML(typ="safe").load((folder / "kustomization.yaml").read_text())["resources"]
    assert sorted(named) == sorted({path.name for path in folder.iterdir()} - {"kustomization.yaml"})


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_builds_the_manifests() -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", DEPLOY / "kubernetes"], capture_output=True, text=True, check=True, timeout=60
    )
    read = list(YAML(typ="safe").load_all(built.stdout))
    assert {each["kind"] for each in read} == set(manifests())
    images = [
        each["spec"]["template"]["spec"]["containers"][0]["image"]
        for each in read
        if each["kind"] in ("Deployment", "Job")
    ]
    assert images == ["interlock:0.1.0"] * 2


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    program = shutil.which("true")
    text = (DEPLOY / "systemd" / "interlock.service").read_text().replace("/opt/interlock/bin/interlock", str(program))
    (tmp_path / "interlock.service").write_text(text)
    for words in (["verify", "--man=no"], ["security", "--offline=yes", "--threshold=20"]):
        done = subprocess.run(
            ["systemd-analyze", *words, tmp_path / "interlock.service"],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        if "--offline=yes" in words and "unrecognized option" in done.stderr:
            continue  # before version 250 it only judged units that run
        assert done.returncode == 0, done.stdout + done.stderr
        assert "interlock.service:" not in done.stderr  # what it does not know, it says and goes on


# -- what they say of us ----


@pytest.mark.parametrize("where", list(commands()))
def test_the_command_line_understands_every_command(where: str) -> None:
    line = shlex.join(commands()[where])
    assert not parse(line.replace("?", "%")), line  # of a shell that reads it too


def test_every_variable_is_one_of_ours() -> None:
    known = set(re.findall(r"`(INTERLOCK_\w+)`", (ROOT / "docs/reference/configuration.md").read_text()))
    files = [path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    named = {name for path in files for name in re.findall(r"\bINTERLOCK_[A-Z_]+\b", path.read_text())}
    assert {"INTERLOCK_HOME", "INTERLOCK_TOKEN", "INTERLOCK_ENCRYPTION_KEY"} <= named
    assert named - {"INTERLOCK_PORT"} <= known  # which Kubernetes would make, in a comment


def test_a_server_has_longer_to_end_than_it_takes() -> None:
    grace = pod("Deployment")["terminationGracePeriodSeconds"]
    assert grace > LINGER_S + int(server()["lifecycle"]["preStop"]["exec"]["command"][1]) + 10
    assert int(compose()["services"]["server"]["stop_grace_period"].removesuffix("s")) > LINGER_S + 10
    assert int(unit()["TimeoutStopSec"][0]) > LINGER_S + 10
    assert of_image("STOPSIGNAL").text == "SIGTERM"


def test_probes_ask_for_what_the_server_answers_under_a_name_it_answers_to() -> None:
    for probe in PROBES:
        asked = server()[probe]["httpGet"]
        assert hasattr(_Endpoints, asked["path"].removeprefix("/"))
        assert asked["port"] == server()["ports"][0]["name"]
        assert asked["httpHeaders"] == [{"name": "Host", "value": "localhost"}]
    assert server()["readinessProbe"]["httpGet"]["path"] == "/readyz"
    # A database that is away must not have servers killed, which keep their waiters' places.
    assert server()["livenessProbe"]["httpGet"]["path"] == "/healthz"
    port = commands()["kubernetes, server"][commands()["kubernetes, server"].index("--listen") + 1].rpartition(":")[2]
    assert server()["ports"][0]["containerPort"] == int(port) == int(of_image("EXPOSE").text)


def test_nothing_secret_is_written_down() -> None:
    for kind in ("Deployment", "Job"):
        for each in pod(kind)["containers"][0]["env"]:
            assert not SECRET.search(each["name"]) or "secretKeyRef" in each["valueFrom"], each
    for name, service in compose()["services"].items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable):
                assert variable.endswith("_FILE"), (name, variable)
                assert value.startswith("/secrets/made/"), (name, variable)
    assert "Secret" not in manifests()
    for words in commands().values():
        assert not any(re.search(r"://[^/@]*:[^/@]*@", word) for word in words)


# -- what they promise ----


def test_the_image_is_small_runs_as_nobody_and_holds_what_was_tested() -> None:
    build, image = dockerfile()
    assert [step.text.split()[0] for step in (build[0], image[0])] == ["python:3.13-slim"] * 2
    assert of_image("USER").text == "10001:10001"
    assert not [step for step in build + image if step.name == "ADD"]
    copied = [step.text for step in image if step.name == "COPY"]
    assert copied[0] == "--from=build /opt/interlock /opt/interlock"
    for step in (*build, *image):
        words = [word for word in step.text.split() if not word.startswith("--")]
        for source in words[:-1] if step.name == "COPY" and "--from" not in step.text else ():
            assert (ROOT / source).exists(), step
    assert not [step for step in image if step.name == "RUN" and "pip" in step.text]
    for step in build:
        for install in re.findall(r"pip install [^&]*|install --no-cache-dir [^&]*", step.text):
            assert "--require-hashes" in install or "--no-index --no-deps" in install, install
    assert of_image("HEALTHCHECK").text.endswith('["python", "-I", "/opt/interlock/share/ask_ready.py"]')
    assert "/readyz" in (DEPLOY / "ask_ready.py").read_text()
    assert image_environment()["INTERLOCK_HOME"] == of_image("WORKDIR").text


def test_what_the_image_needs_is_let_through_to_its_build() -> None:
    rules = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in rules
    for step in (step for stage in dockerfile() for step in stage if step.name == "COPY" and "--from" not in step.text):
        for source in [word for word in step.text.split() if not word.startswith("--")][:-1]:
            assert any(f"!{part}" in rules for part in (source, source.split("/")[0])), source


def _pins(name: str) -> dict[str, str]:
    found = re.findall(r"(?m)^([\w.-]+)==(\S+)", (ROOT / "requirements" / name).read_text())
    return dict(found)


def test_the_image_is_made_of_the_versions_that_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["dependency-groups"]["build"] == project["build-system"]["requires"]
    tested = _pins("dev.txt")
    for name in ("server.txt", "build.txt"):
        assert _pins(name).items() <= tested.items()
    assert {"uvloop", "psycopg", "psycopg-binary", "uvicorn", "starlette"} <= set(_pins("server.txt"))


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_pods_are_what_the_restricted_profile_of_kubernetes_asks_for(kind: str) -> None:
    assert pod(kind)["securityContext"]["runAsNonRoot"]
    assert str(pod(kind)["securityContext"]["runAsUser"]) == of_image("USER").text.split(":")[0]
    assert pod(kind)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod(kind)["automountServiceAccountToken"]
    for container in pod(kind)["containers"]:
        context = container["securityContext"]
        assert not context["allowPrivilegeEscalation"]
        assert context["readOnlyRootFilesystem"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounted["home"] == image_environment()["INTERLOCK_HOME"]


def test_service_and_disruption_budget_mean_the_servers_alone() -> None:
    labels = manifests()["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifests()["Deployment"]["spec"]["replicas"] == 3
    assert manifests()["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests()["Service"]["spec"]["selector"] == labels
    assert manifests()["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests()["Job"]["spec"]["template"]["metadata"]["labels"] != labels


def test_the_secrets_of_compose_are_made_once_whole_and_each_for_one_reader(tmp_path: Path) -> None:
    making, mine = _script("make_secrets"), tmp_path.stat().st_uid
    (tmp_path / "draft").mkdir()
    (tmp_path / "draft" / "token").write_text("of a start that was stopped")
    assert making.make(tmp_path, interlock=mine, postgres=mine)
    made = {path.name: path.read_text() for path in (tmp_path / "made").iterdir()}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "made").iterdir()} == {0o400}
    assert not making.make(tmp_path, interlock=mine, postgres=mine)
    assert {path.name: path.read_text() for path in (tmp_path / "made").iterdir()} == made
    assert made["pgpass"].strip().split(":")[-1] == made["database-password"].strip()
    assert read_keys(made["encryption-key"], said_by="the file")
    used = re.findall(r"/secrets/made/([\w-]+)", (DEPLOY / "compose.yaml").read_text())
    assert set(used) == set(made)


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
