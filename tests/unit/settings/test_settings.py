from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.settings.reading import load
from interlock.settings.values import Secret, parse_duration


def write(folder: Path, text: str) -> Path:
    (folder / "interlock.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90.0), ("10m", 600.0), ("1h30m", 5400.0), ("2d", 172800.0), ("15", 15.0), ("0.5s", 0.5)],
)
def test_durations_are_written_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "ten minutes", "10x", "-5s", "1m1h", "5 m"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_duration(text)
    assert "10m" in refusal.value.fix


@pytest.mark.parametrize("text", ["999999999d", "9" * 400, "9" * 400 + "d", "36501d"])
def test_a_duration_that_no_calendar_holds_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_duration(text)
    assert refusal.value.why
    assert parse_duration("36500d") == 36_500 * 86_400.0


def test_flags_override_the_environment_which_overrides_the_file(tmp_path: Path) -> None:
    folder = write(tmp_path, "run:\n  wait: 1m\n  max_deletes: 5\n  lease: 30s\n")
    settings = load(folder, {"HOME": "/h", "INTERLOCK_WAIT": "2m", "INTERLOCK_MAX_DELETES": "3"}, {"wait_s": 180.0})
    assert (settings.wait_s, settings.max_deletes, settings.lease_s) == (180.0, 3, 30.0)
    assert settings.origins["wait_s"] == "flag"
    assert settings.origins["max_deletes"] == "environment"
    assert settings.origins["lease_s"] == str(folder / "interlock.yaml")
    assert settings.origins["home"] == "default"


def test_an_unknown_key_is_an_error_that_names_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"states\.prod\.protect") as refusal:
        load(write(tmp_path, "states:\n  prod:\n    protect: true\n"), {})
    assert "protected" in refusal.value.fix
    with pytest.raises(UsageError, match="runs") as refusal:
        load(write(tmp_path, "runs: {}\n"), {})
    assert "'run'" in refusal.value.fix


@pytest.mark.parametrize(
    "text", ["run: [", "- a\n", "version: 2\n", "run:\n  wait: soon\n", "states:\n  a:\n    max_deletes: -1\n", "\x00"]
)
def test_a_broken_file_is_a_usage_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        load(write(tmp_path, text), {})
    assert "interlock.yaml" in str(refusal.value)


def test_an_anchor_that_is_given_twice_is_no_python_warning_on_our_stderr(tmp_path: Path) -> None:
    (tmp_path / "interlock.yaml").write_text(
        "version: 1\nstates:\n  a: &one {directory: x}\n  b: &one {directory: y}\n"
    )
    assert set(load(tmp_path, {"HOME": str(tmp_path)}).states) == {"a", "b"}


def test_the_file_is_found_up_to_the_root_of_the_repository_and_not_beyond(tmp_path: Path) -> None:
    write(tmp_path, "run:\n  wait: 1m\n")
    inside = tmp_path / "repo" / "envs" / "prod"
    inside.mkdir(parents=True)
    assert load(inside, {}).wait_s == 60.0
    (tmp_path / "repo" / ".git").mkdir()
    assert load(inside, {}).wait_s is None


def test_a_state_is_named_by_the_file(tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    settings = load(write(tmp_path, "states:\n  prod/routing:\n    directory: envs\n"), {})
    assert settings.state_for(tmp_path / "envs") == "prod/routing"
    assert settings.state_for(tmp_path) is None


def test_a_heartbeat_too_slow_for_its_lease_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too slow"):
        load(tmp_path, {"INTERLOCK_LEASE": "2s", "INTERLOCK_HEARTBEAT": "1.5s"})


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret(value="hunter2")
    assert "hunter2" not in f"{secret} {secret!r}"
    assert "hunter2" not in repr(load(Path("/"), {"INTERLOCK_TOKEN": "hunter2"}))


def test_everything_in_the_gateway_section_is_checked(tmp_path: Path) -> None:
    settings = load(write(tmp_path, "gateway:\n  tokens: 5\n  hold: 6s\n  budgets:\n    token: 300/60s\n"), {})
    assert settings.sections["gateway"] == {"tokens": 5, "hold": 6.0, "budgets": {"token": "300/60s"}}
    with pytest.raises(UsageError) as refusal:
        load(write(tmp_path, "gateway:\n  token: 5\n"), {})
    assert "tokens" in refusal.value.fix
