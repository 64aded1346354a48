"""A scan in the forms in which it is read."""

from interlock.drift.formats.markdown import render_markdown
from interlock.drift.formats.page import render_page
from interlock.drift.formats.plain import render_text

__all__ = ["render_markdown", "render_page", "render_text"]
