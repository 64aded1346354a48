"""The reference page of all rules, written from the rules themselves so that page and code cannot part.

To write it anew: `python -m interlock.lint.reference > docs/reference/lint-rules.md`. A test compares the two.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence

from interlock.lint.catalogue import RULES
from interlock.lint.rule import Rule, Subject

_TITLES = {
    Subject.SYNTAX: "Files and comments",
    Subject.BACKEND: "Backend and locking",
    Subject.PROVIDER: "Provider",
    Subject.RESOURCES: "Resources",
    Subject.CI: "CI files",
}
_LANGUAGES = {"tf": "hcl", "yml": "yaml", "yaml": "yaml", "sh": "sh", "json": "json"}

_HEAD = """\
# Lint rules

Every rule of `interlock lint`, with what it looks for, why, and what to write instead. The texts come from the rules
themselves (`interlock lint --list-rules` prints the short list). [How to use the linter](../howto/lint.md) explains
ignores, the baseline and the output forms.

A rule is silent when it cannot know: a value that comes from a variable, a file that was not given.
`--fix` repairs the findings of rules that are marked so, and leaves everything else in the file as it is.
"""


def page(rules: Sequence[Rule] = RULES) -> str:
    """Return the page as Markdown."""
    return "\n".join([_HEAD, *_index(rules), *(line for subject in Subject for line in _group(subject, rules))])


def _index(rules: Sequence[Rule]) -> Iterator[str]:
    yield "| rule | severity | `--fix` |"
    yield "|---|---|---|"
    for rule in rules:
        yield f"| [{rule.name}](#{rule.name}) | {rule.severity.value} | {'yes' if rule.fixable else ''} |"
    yield ""


def _group(subject: Subject, rules: Sequence[Rule]) -> Iterator[str]:
    yield f"## {_TITLES[subject]}"
    yield ""
    for rule in rules:
        if rule.subject is subject:
            yield from _section(rule)


def _section(rule: Rule) -> Iterator[str]:
    yield f"### {rule.name}"
    yield ""
    yield f"{_sentence(rule.what)} Severity: {rule.severity.value}."
    yield ""
    yield f"**Why.** {_sentence(rule.why)}"
    yield ""
    yield f"**Fix.** {_sentence(rule.fix[:1].upper() + rule.fix[1:])}{' `--fix` does it.' if rule.fixable else ''}"
    yield ""
    yield from _example("Found", rule.bad)
    yield from _example("Right", rule.good)


def _example(title: str, files: Mapping[str, str]) -> Iterator[str]:
    for path, text in files.items():
        yield f"{title}, `{path}`:"
        yield ""
        yield f"```{_LANGUAGES.get(path.rpartition('.')[2], '')}"
        yield text.rstrip("\n")
        yield "```"
        yield ""


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


if __name__ == "__main__":
    sys.stdout.write(page())
