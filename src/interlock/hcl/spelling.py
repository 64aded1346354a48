r"""Text as a word of HCL: the one place that says how, for what we write into values files and configurations.

Checked against Terraform 1.11 and 1.15 and OpenTofu 1.12 over all characters that mean something to HCL: they read
exactly the text, but for Unicode's normal form C, which they give to every text, wherever it comes from.
"""

from __future__ import annotations

from typing import Final

_ESCAPED: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_UNDECODED: Final = "\ufffd"


def hcl_text(text: str) -> str:
    """Return a quoted template that means exactly `text`, on one line, of characters that can be seen.

    Half a surrogate pair is not a character, and no HCL can say it: it becomes U+FFFD, as in Terraform.
    """
    escaped = "".join(_ESCAPED.get(character) or _escape(character) for character in text)
    return '"' + escaped.replace("##", r"#\u0023").replace("${", "$${").replace("%{", "%%{") + '"'  # see foreign_text


def import_block(address: str, identifier: str) -> str:
    """Return the block that takes an object over.

    Args:
        address: Where it is to be managed.
        identifier: What the provider imports it by.
    """
    return f"import {{\n  to = {address}\n  id = {hcl_text(identifier)}\n}}\n"


def _escape(character: str) -> str:
    if "\ud800" <= character <= "\udfff":
        return _UNDECODED
    return character if character.isprintable() else f"\\U{ord(character):08x}"
