import pytest

from interlock.errors import UsageError
from interlock.terraform.command import (
    Command,
    HttpBackend,
    Options,
    Place,
    Verb,
    build_command,
    divide_flags,
    http_environment,
    merge_environment,
)

BACKEND = HttpBackend(
    address="http://127.0.0.1:1/run/a",
    lock_address="http://127.0.0.1:1/run/a",
    unlock_address="http://127.0.0.1:1/run/a",
    username="interlock",
    password="hunter2!",
    retry_max=5,
)
PLACE = Place(program="/usr/bin/terraform", folder="infra", data_dir="/data/x", backend=BACKEND)


def argv(verb: Verb, **options: object) -> tuple[str, ...]:
    return build_command(verb, Options(**options), Place()).argv[1:]  # type: ignore[arg-type]


def test_a_plan_is_spelled_completely() -> None:
    command = build_command(
        Verb.PLAN, Options(json=True, out="p.bin", detailed_exitcode=True, parallelism=4, extra=("-var=a=1",)), PLACE
    )
    assert command.argv == (
        "/usr/bin/terraform",
        "-chdir=infra",
        "plan",
        "-input=false",
        "-no-color",
        "-json",
        "-parallelism=4",
        "-detailed-exitcode",
        "-out=p.bin",
        "-var=a=1",
    )


def test_the_plan_file_comes_last() -> None:
    assert argv(Verb.APPLY, file="p.bin", json=True, extra=("-parallelism=2",)) == (
        "apply",
        "-input=false",
        "-no-color",
        "-json",
        "-parallelism=2",
        "p.bin",
    )


@pytest.mark.parametrize(
    ("verb", "options", "expected"),
    [
        (Verb.VERSION, {"json": True}, ("version", "-json")),
        (Verb.SHOW, {"json": True, "file": "p"}, ("show", "-no-color", "-json", "p")),
        (Verb.STATE_PUSH, {"file": "s", "force": True, "lock": False}, ("state", "push", "-lock=false", "-force", "s")),
        (Verb.FORCE_UNLOCK, {"lock_id": "i", "force": True}, ("force-unlock", "-force", "i")),
        (Verb.GRAPH, {}, ("graph",)),
        (Verb.PLAN, {"mode": "destroy"}, ("plan", "-input=false", "-no-color", "-destroy")),
        (Verb.PLAN, {"mode": "refresh-only"}, ("plan", "-input=false", "-no-color", "-refresh-only")),
        (Verb.PLAN, {"lock_timeout_s": 60}, ("plan", "-input=false", "-no-color", "-lock-timeout=60s")),
        (
            Verb.INIT,
            {"reconfigure": True, "backend_config": ("key=a",), "upgrade": True},
            ("init", "-input=false", "-no-color", "-upgrade", "-reconfigure", "-backend-config=key=a"),
        ),
        (Verb.INIT, {"backend": False}, ("init", "-input=false", "-no-color", "-backend=false")),
    ],
)
def test_each_verb_takes_its_own_options(verb: Verb, options: dict[str, object], expected: tuple[str, ...]) -> None:
    assert argv(verb, **options) == expected


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        (Verb.VERSION, {"out": "p"}),
        (Verb.SHOW, {"auto_approve": True}),
        (Verb.INIT, {"parallelism": 3}),
        (Verb.FORCE_UNLOCK, {}),
        (Verb.STATE_PUSH, {}),
        (Verb.PLAN, {"parallelism": 0}),
        (Verb.PLAN, {"extra": ("-compact-warnings",) * 1001}),
    ],
)
def test_an_option_of_another_verb_is_refused(verb: Verb, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        argv(verb, **options)


def test_secrets_are_in_the_environment_and_nowhere_else() -> None:
    command = build_command(Verb.PLAN, Options(variables={"token": "hunter3!"}), PLACE)
    assert command.environment["TF_HTTP_PASSWORD"] == "hunter2!"
    assert command.environment["TF_VAR_token"] == "hunter3!"
    shown = repr((command, PLACE, Options(variables={"token": "hunter3!"}))) + " ".join(command.argv)
    assert "hunter" not in shown


def test_the_backend_is_given_by_environment_alone() -> None:
    assert http_environment(BACKEND) == {
        "TF_HTTP_ADDRESS": "http://127.0.0.1:1/run/a",
        "TF_HTTP_LOCK_ADDRESS": "http://127.0.0.1:1/run/a",
        "TF_HTTP_UNLOCK_ADDRESS": "http://127.0.0.1:1/run/a",
        "TF_HTTP_USERNAME": "interlock",
        "TF_HTTP_PASSWORD": "hunter2!",
        "TF_HTTP_RETRY_MAX": "5",
    }


def test_what_would_redirect_the_run_is_taken_from_the_environment() -> None:
    inherited = {
        "PATH": "/bin",
        "TF_WORKSPACE": "other",
        "TF_CLI_ARGS": "-lock=false",
        "TF_HTTP_SKIP_X": "y",
        "TF_HTTP_UNLOCK_ADDRESS": "http://elsewhere",
        "TF_VAR_kept": "1",
    }
    merged = merge_environment(inherited, build_command(Verb.PLAN, Options(), Place(backend=HttpBackend(address="a"))))
    assert merged["TF_HTTP_ADDRESS"] == "a"
    assert merged["TF_VAR_kept"] == "1"
    assert merged["TF_IN_AUTOMATION"] == "1"
    assert not {"TF_WORKSPACE", "TF_CLI_ARGS", "TF_HTTP_SKIP_X", "TF_HTTP_UNLOCK_ADDRESS"} & set(merged)


@pytest.mark.promise("P3")
@pytest.mark.parametrize("verb", [verb for verb in Verb if verb is not Verb.PLAN], ids=lambda verb: verb.value)
def test_no_command_of_a_run_takes_flags_of_the_environment(verb: Verb) -> None:
    """`TF_CLI_ARGS_state_push=-force` was taken by the push that begins a state."""
    name = "TF_CLI_ARGS_" + verb.value.replace(" ", "_").replace("-", "_")
    command = Command(argv=(), environment={})
    assert merge_environment({name: "-force", "TF_CLI_ARGS_plan": "-refresh=false"}, command) == {
        "TF_CLI_ARGS_plan": "-refresh=false"
    }


def test_an_own_http_backend_of_the_user_keeps_its_variables() -> None:
    command = Command(argv=(), environment={})
    assert merge_environment({"TF_HTTP_ADDRESS": "mine"}, command) == {"TF_HTTP_ADDRESS": "mine"}


def test_flags_go_to_the_command_that_understands_them() -> None:
    divided = divide_flags(
        ["-var", "a=1", "-target=x.y", "--parallelism=3", "-upgrade", "-backend-config", "k=v", "-odd"]
    )
    assert divided.plan == ("-var", "a=1", "-target=x.y", "--parallelism=3", "-odd")
    assert divided.apply == ("--parallelism=3",)
    assert divided.init == ("-upgrade", "-backend-config", "k=v")


def test_flags_of_opentofu_go_to_the_command_that_understands_them() -> None:
    divided = divide_flags(["-suppress-forget-errors", "-exclude-file", "slow.txt", "-target-file", "now.txt"])
    assert divided.plan == ("-exclude-file", "slow.txt", "-target-file", "now.txt")
    assert divided.apply == ("-suppress-forget-errors",)


@pytest.mark.parametrize(
    "flag", ["-lock=false", "--lock=false", "-out=p", "-json", "-chdir=..", "-state=x", "word", "-"]
)
def test_flags_that_break_a_promise_are_refused_with_the_reason(flag: str) -> None:
    with pytest.raises(UsageError) as refused:
        divide_flags([flag])
    assert refused.value.fix
