import json

import pytest

from interlock.lint.catalogue import RULES
from interlock.lint.finding import Finding, Severity
from interlock.lint.formats import render_github, render_gitlab, render_json, render_sarif, render_text
from interlock.lint.report import Report, reported
from interlock.source.tree import span_of

TEXT = 'resource "a" "ü" {\n\tname = "x" # 100%, a:b\n}\n'


def report(
    *, message: str = "wrong, is: 100%", path: str = "a/main.tf", severity: Severity = Severity.WARNING
) -> Report:
    start = TEXT.encode().index(b'"x"')
    span = span_of(path, TEXT.encode(), start, start + 3)
    finding = Finding(rule="lock-table-ttl", severity=severity, span=span, message=message, fix="do this")
    return Report(findings=reported([finding], {path: TEXT.encode()}), files=3, ignored=1, accepted=2)


def test_json_has_exactly_the_promised_fields() -> None:
    assert json.loads(render_json(report())) == {
        "findings": [
            {
                "rule": "lock-table-ttl",
                "severity": "warning",
                "path": "a/main.tf",
                "line": 2,
                "column": 9,
                "message": "wrong, is: 100%",
                "fix": "do this",
            }
        ],
        "not_judged": [],
    }
    assert json.loads(render_json(Report(findings=()))) == {"findings": [], "not_judged": []}


def test_text_shows_the_line_and_marks_the_place() -> None:
    assert render_text(report()) == (
        "warning[lock-table-ttl]: wrong, is: 100%\n"
        " --> a/main.tf:2:9\n"
        "  |\n"
        '2 |     name = "x" # 100%, a:b\n'
        "  |            ^^^\n"
        "  = fix: do this\n"
        "\n"
        "1 warning in 3 files (1 ignored inline, 2 in the baseline)\n"
    )
    assert render_text(Report(findings=(), files=2)) == "no findings in 2 files\n"


def test_text_is_coloured_only_on_demand() -> None:
    assert "\x1b[" not in render_text(report())
    assert "\x1b[1;33mwarning[lock-table-ttl]\x1b[0m" in render_text(report(), colour=True)


def test_text_never_passes_control_characters_on() -> None:
    assert "\x1b" not in render_text(report(message="a\x1b[31mb", path="a\x1b.tf"))


def test_long_lines_are_cut_around_the_place() -> None:
    content = b"x" * 5000 + b" HERE " + b"y" * 5000
    span = span_of("f", content, 5001, 5005)
    finding = Finding(rule="r", severity=Severity.ERROR, span=span, message="m", fix="f")
    lines = render_text(Report(findings=reported([finding], {"f": content}))).split("\n")
    assert max(map(len, lines)) < 200
    assert lines[3][lines[4].index("^") :].startswith("HERE")


def test_github_escapes_what_would_end_a_command() -> None:
    assert render_github(report()) == (
        "::warning file=a/main.tf,line=2,col=9,endLine=2,title=lock-table-ttl,endColumn=12"
        "::wrong, is: 100%25%0Ado this\n"
    )
    assert "file=a%2Cb%3Ac.tf," in render_github(report(path="a,b:c.tf"))
    assert render_github(report(severity=Severity.INFO)).startswith("::notice ")


def test_gitlab_has_the_fields_of_a_code_quality_report() -> None:
    (issue,) = json.loads(render_gitlab(report()))
    assert issue["description"] == "wrong, is: 100% (do this)"
    assert issue["check_name"] == "lock-table-ttl"
    assert issue["severity"] == "major"
    assert issue["location"] == {"path": "a/main.tf", "lines": {"begin": 2, "end": 2}}
    assert len(issue["fingerprint"]) == 32


def test_sarif_names_all_rules_and_places() -> None:
    document = json.loads(render_sarif(report(), RULES, version="1.2.3"))
    (run,) = document["runs"]
    assert document["version"] == "2.1.0"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [rule.name for rule in RULES]
    (result,) = run["results"]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "lock-table-ttl"
    (location,) = result["locations"]
    assert location["physicalLocation"]["artifactLocation"] == {"uri": "a/main.tf", "uriBaseId": "SRCROOT"}
    assert location["physicalLocation"]["region"] == {"startLine": 2, "startColumn": 9, "endLine": 2, "endColumn": 12}


@pytest.mark.parametrize(("path", "uri"), [("a b/ü.tf", "a%20b/%C3%BC.tf"), ("/srv/x.tf", "file:///srv/x.tf")])
def test_sarif_spells_paths_as_uris(path: str, uri: str) -> None:
    (run,) = json.loads(render_sarif(report(path=path), (), version="1"))["runs"]
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri
