"""One report in the forms that people and platforms read. Each file renders one form; none knows another."""

from interlock.lint.formats.document import render_json
from interlock.lint.formats.github import render_github
from interlock.lint.formats.gitlab import render_gitlab
from interlock.lint.formats.plain import render_text
from interlock.lint.formats.sarif import render_sarif

__all__ = ["render_github", "render_gitlab", "render_json", "render_sarif", "render_text"]
