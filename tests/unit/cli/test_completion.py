"""Completion scripts: what they hold, and where they are installed."""

from pathlib import Path

import pytest

from interlock.cli.completion import Shell, script
from interlock.cli.main import build, main


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", ".local/share/bash-completion/completions/interlock"),
        ("zsh", ".zfunc/_interlock"),
        ("fish", ".config/fish/completions/interlock.fish"),
        ("pwsh", ".config/powershell/interlock.ps1"),
    ],
)
def test_each_script_is_written_to_where_its_shell_looks(
    shell: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["completion", shell, "--install"])
    assert not ended.value.code
    assert (tmp_path / place).read_text() == f"{script(Shell(shell))}\n"


def test_the_powershell_script_leaves_the_session_as_it_was() -> None:
    """Its text alone: no PowerShell can be had on the machines of the tests."""
    text = script(Shell.PWSH)
    assert text.count("{") == text.count("}")
    assert "Set-PSReadLineKeyHandler" not in text, "the Tab key is the person's"
    for name in ("_INTERLOCK_COMPLETE", "_TYPER_COMPLETE_ARGS", "_TYPER_COMPLETE_WORD_TO_COMPLETE"):
        assert f"$Env:{name} =" in text
        assert f"Env:{name}" in text.partition("finally")[2]


def test_what_powershell_asks_is_answered_as_its_script_reads_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_INTERLOCK_COMPLETE", "complete_pwsh")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "interlock queue ")
    monkeypatch.setenv("_TYPER_COMPLETE_WORD_TO_COMPLETE", "")
    build.cache_clear()
    with pytest.raises(SystemExit):
        main([])
    build.cache_clear()
    lines = capsys.readouterr().out.splitlines()
    assert "ls" in [line.partition(":::")[0] for line in lines]
