"""How the templates of this folder are filled in: `<< value >>` and `<% statement %>`, since CI files use braces.

Values need no escaping: `pipeline.read_pipeline` lets only harmless ones through.
"""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, StrictUndefined, Template


@cache
def _environment() -> Environment:
    return Environment(
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML, not HTML; values are checked at the door
    )


@cache
def template(text: str) -> Template:
    """Return a template made once."""
    return _environment().from_string(text)
