"""What we write for Terraform means what was meant: to our own reader any text, to Terraform the hard ones."""

import json
import subprocess
import unicodedata
from itertools import product
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from interlock.foreign_text import one_line
from interlock.hcl import constant, parse
from interlock.hcl.spelling import hcl_text

HARD = (
    "$",
    "%",
    "{",
    "}",
    '"',
    "\\",
    "\n",
    "\r",
    "\t",
    "\0",
    "\x1b",
    "\x7f",
    "\x85",
    "\u2028",
    "\ufeff",
    "\u202e",
    "#",
    "🙂",
)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_text_is_spelled_so_that_it_is_read_as_it_was(text: str) -> None:
    spelled = hcl_text(text)
    known = constant(parse("x.tf", f"x = {spelled}\n".encode()).body.get("x"))
    assert known is not None
    assert known.value == text
    assert one_line(spelled) == spelled


def test_terraform_reads_every_hard_text_as_it_was(tmp_path: Path) -> None:
    texts = [
        *map("".join, product(HARD, repeat=2)),
        "$${x}",
        "$$${x}",
        "%%{if",
        "${",
        "$" * 5 + "{",
        "~}",
        "/*",
        "<<EOT\n",
    ]
    (tmp_path / "main.tf").write_text('variable "x" { type = list(string) }\noutput "x" { value = var.x }\n')
    (tmp_path / "terraform.tfvars").write_text(f"x = [{', '.join(map(hcl_text, texts))}]\n", newline="")
    subprocess.run(["terraform", "apply", "-auto-approve", "-no-color"], cwd=tmp_path, capture_output=True, check=True)
    read = json.loads((tmp_path / "terraform.tfstate").read_bytes())["outputs"]["x"]["value"]
    assert read == [unicodedata.normalize("NFC", text) for text in texts]


def test_half_a_surrogate_pair_is_no_escape_that_terraform_refuses() -> None:
    assert hcl_text("a\ud800b") == '"a\ufffdb"'
