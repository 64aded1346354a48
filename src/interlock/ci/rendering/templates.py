"""How the templates of this folder are filled in: `<< value | yaml >>`, `<% statement %>`; CI files use braces.

Only words that `quoting` has spelled get in; a bare text is an error of ours.
"""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, StrictUndefined, Template

from interlock.ci.quoting import (
    Spelled,
    bare_text,
    checked_spelling,
    expression_text,
    groovy_script,
    groovy_text,
    job_word,
    shell_word,
    yaml_scalar,
)


@cache
def _environment() -> Environment:
    environment = Environment(
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
        finalize=checked_spelling,
        autoescape=False,  # noqa: S701 - YAML, not HTML; every value is spelled
    )
    environment.filters.update(
        yaml=yaml_scalar,
        bare=bare_text,
        sh=shell_word,
        expr=expression_text,
        word=job_word,
        groovy=groovy_text,
        script=groovy_script,
        flags=Spelled,  # our own words, never a value
        pin=lambda pin: Spelled(str(pin)),
    )
    return environment


@cache
def template(text: str) -> Template:
    """Return a template made once."""
    return _environment().from_string(text)
