from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from interlock.drift import report
from interlock.drift.finding import Attribute, Cause, Finding, Kind, Scan, Verdict
from interlock.drift.formats import render_markdown, render_page, render_text

EVIL = '<script>alert(1)</script> | `x` \x1b[31m [a](b) & "q"'


def changed(name: str, *, cause: Cause | None = None, verdict: Verdict = Verdict.OPEN, dependents: int = 0) -> Finding:
    attribute = Attribute(path="description", before="old", after="new", verdict=verdict, digest="d1g3st")
    return Finding(
        kind=Kind.CHANGED,
        address=f"t.{name}",
        type="t",
        object=name,
        name=name,
        attributes=(attribute,),
        cause=cause,
        dependents=dependents,
    )


def gone(name: str, cause: Cause | None = None) -> Finding:
    return Finding(
        kind=Kind.GONE, address=f"t.{name}", type="t", object=name, attributes=(Attribute(path=""),), cause=cause
    )


def scan(now: datetime, *findings: Finding, notes: tuple[str, ...] = ()) -> Scan:
    return Scan(state="prod", run="run1", at=now, salt="salt", findings=findings, notes=notes)


def test_what_one_person_did_at_one_time_stands_together_and_what_is_gone_first(now: datetime) -> None:
    ana = Cause(who="Ana", at=now)
    soon = Cause(who="Ana", at=now + timedelta(minutes=2))
    later = Cause(who="Ana", at=now + timedelta(hours=5))
    found = scan(now, changed("a", cause=ana), gone("b", soon), changed("c", cause=later), changed("d"))
    (section,) = report.sections(found)
    assert [[each.object for each in group.findings] for group in section.groups] == [["b", "a"], ["c"], ["d"]]
    assert section.groups[2].title == "by whom is not known"


def test_findings_on_which_more_depends_come_first(now: datetime) -> None:
    (section,) = report.sections(scan(now, changed("a"), changed("b", dependents=3)))
    assert [each.object for each in section.groups[0].findings] == ["b", "a"]


def test_the_headline_counts_what_is_open_and_the_rest(now: datetime) -> None:
    noise = changed("n", verdict=Verdict.NOISE)
    accepted = changed("c", verdict=Verdict.ACCEPTED)
    assert report.headline(scan(now, changed("a"), gone("b"), noise, accepted)) == (
        "prod: 2 to be decided (1 changed, 1 gone) · 1 accepted · 1 noise"
    )
    assert report.headline(scan(now)) == "prod: no drift to be decided"


def test_noise_is_counted_and_not_listed(now: datetime) -> None:
    text = render_text(scan(now, changed("quiet", verdict=Verdict.NOISE)))
    assert "1 noise" in text
    assert "t.quiet" not in text


def test_lists_show_only_what_they_do_not_share() -> None:
    assert report.change_text(Attribute(path="x", before=["a", "b"], after=["b", "c"])) == ('without "a"', 'with "c"')
    assert report.change_text(Attribute(path="x", before=["a"], after=["a", "a"])) == ("", 'with "a"')
    assert report.change_text(Attribute(path="x", before=["a", "b"], after=["b", "a"])) == ('["a", "b"]', '["b", "a"]')


def test_json_has_everything_but_digests_and_salt(now: datetime) -> None:
    document = report.as_document(scan(now, changed("a"), gone("b"), notes=("n",)), "import {}")
    text = json.dumps(document, default=str)
    assert "d1g3st" not in text
    assert "salt" not in text
    assert set(document) == {
        "schema", "state", "run", "at", "since", "counts", "findings", "imports", "looked_for", "elsewhere", "notes"
    }  # fmt: skip


def test_names_and_values_cannot_become_markup_or_drive_a_terminal(now: datetime) -> None:
    evil = Finding(
        kind=Kind.CHANGED,
        address=f"t.{EVIL}",
        type="t",
        object="1",
        name=EVIL,
        attributes=(Attribute(path=EVIL, before=EVIL, after=EVIL),),
        cause=Cause(who=EVIL, at=now),
    )
    found = scan(now, evil, notes=(EVIL,))
    assert "\x1b" not in render_text(found)
    page = render_page(found)
    assert "<script" not in page
    assert "\x1b" not in page
    markdown = render_markdown(found)
    assert "\x1b" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}


class _Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - the base class's signature
        assert tag not in {"script", "img", "link", "iframe"}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(list(Kind)), st.sampled_from(list(Verdict)))
def test_every_form_holds_whatever_is_found(name: str, value: str, kind: Kind, verdict: Verdict) -> None:
    now = datetime.fromisoformat("2026-11-24T09:00:00+00:00")
    attribute = Attribute(path="p", before=value, after=[value], verdict=verdict, reason=value)
    finding = Finding(kind=kind, address=f"t.{name}", type="t", object=name, name=name, attributes=(attribute,))
    found = scan(now, finding)
    balance = _Balance()
    balance.feed(render_page(found))
    assert balance.open == []
    assert render_text(found).endswith("\n")
    assert render_markdown(found).endswith("\n")


def test_terraforms_oauth_client_is_not_called_terraform_when_no_run_was_under_way(now: datetime) -> None:
    with_client = Cause(who="Terraform", client="c", at=now, ours=True)
    said = report.instant(now)
    assert report.cause_text(with_client) == f"with Terraform's OAuth client, {said}"
    outside = replace(with_client, outside=True)
    assert report.cause_text(outside) == f"with Terraform's OAuth client, outside any run known here, {said}"
    assert report.cause_text(replace(with_client, run="r7")) == f"by run r7, with Terraform's OAuth client, {said}"
    assert report.cause_text(replace(outside, who="Ana", user="u")).startswith("by Ana, with Terraform's OAuth client")
    assert report.cause_text(Cause(who="Ana", at=now)) == f"by Ana, {said}"
    for shown in (render_text, render_markdown, render_page):
        assert "outside any run known here" in shown(scan(now, changed("a", cause=outside)))
