"""States with one fault each, and what Terraform's own reader makes of them.

They are made from one healthy state: systematically, each field with each odd value, and by a seeded chance.
`tests/corpus/state_mutants.json` holds the verdicts of real binaries; `make state-mutants` makes it anew.
"""

from __future__ import annotations

import copy
import hashlib
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent / "corpus" / "state_mutants.json"
SEED = 20261129
CHANCE_MUTANTS = 150
READ_LIMIT_S = 60

_ABSENT = object()
_HUGE = 2**64
Path_ = tuple[Any, ...]
HEALTHY: dict[str, Any] = {
    "version": 4,
    "terraform_version": "1.11.4",
    "serial": 7,
    "lineage": "5b5a2d6e-8f6f-4d5a-9d1e-0c6a6f1e2d3c",
    "outputs": {
        "greeting": {"value": "hello", "type": "string"},
        "rows": {"value": [{"n": 1}], "type": ["list", ["object", {"n": "number"}]], "sensitive": True},
    },
    "resources": [
        {
            "mode": "managed",
            "type": "terraform_data",
            "name": "a",
            "provider": 'provider["terraform.io/builtin/terraform"]',
            "instances": [
                {
                    "index_key": "k",
                    "schema_version": 0,
                    "attributes": {"id": "1", "input": {"value": "x", "type": "string"}, "output": None},
                    "sensitive_attributes": [[{"type": "get_attr", "value": "input"}]],
                    "identity_schema_version": 0,
                    "private": "bnVsbA==",
                    "dependencies": ["terraform_data.b"],
                    "create_before_destroy": True,
                },
                {"index_key": "k", "deposed": "0123abcd", "schema_version": 0, "attributes": {"id": "0"}},
                {"index_key": "t", "status": "tainted", "schema_version": 0, "attributes": {"id": "2"}},
            ],
        },
        {
            "module": 'module.m["x"]',
            "mode": "data",
            "type": "terraform_data",
            "name": "b",
            "each": "list",
            "provider": 'module.m.provider["terraform.io/builtin/terraform"].alias',
            "instances": [{"index_key": 0, "schema_version": 1, "attributes_flat": {"id": "3"}}],
        },
    ],
    "check_results": [
        {
            "object_kind": "resource",
            "config_addr": "terraform_data.a",
            "status": "pass",
            "objects": [{"object_addr": 'terraform_data.a["k"]', "status": "fail", "failure_messages": ["no"]}],
        }
    ],
}
_INSTANCE = ("resources", 0, "instances", 0)
_CHECK = ("check_results", 0)
_FIELDS: tuple[Path_, ...] = (
    *(((name,)) for name in HEALTHY),
    *(("outputs", "greeting", name) for name in ("value", "type", "sensitive")),
    ("outputs", "greeting"),
    *(("resources", 1, name) for name in HEALTHY["resources"][1]),
    ("resources", 1),
    *((*_INSTANCE, name) for name in HEALTHY["resources"][0]["instances"][0]),
    _INSTANCE,
    ("resources", 0, "instances", 1, "deposed"),
    ("resources", 0, "instances", 2, "status"),
    (*_INSTANCE, "attributes_flat"),
    (*_INSTANCE, "identity"),
    *((*_CHECK, name) for name in HEALTHY["check_results"][0]),
    _CHECK,
    *((*_CHECK, "objects", 0, name) for name in ("object_addr", "status", "failure_messages")),
)
_ODD: dict[str, Any] = {
    "absent": _ABSENT,
    "null": None,
    "true": True,
    "zero": 0,
    "minus": -1,
    "fraction": 1.5,
    "huge": _HUGE,
    "empty-text": "",
    "text": "x",
    "empty-list": [],
    "list": ["x"],
    "list-of-null": [None],
    "list-of-numbers": [1, 2],
    "empty-object": {},
    "object": {"x": "y"},
    "object-of-null": {"x": None},
}
_ADDRESSES = (
    "terraform_data.a",
    "data.terraform_data.a",
    "resource.terraform_data.a",
    "resource.count.a",
    "ephemeral.terraform_data.a",
    "list.terraform_data.a",
    "module.m.terraform_data.a",
    'module.m["a b"].terraform_data.a',
    'module.m["a\\"b"].module.n[3].data.terraform_data.a',
    'module.m["${x}"].terraform_data.a',
    'module.m["$${x}"].terraform_data.a',
    'module.m["%{if}"].terraform_data.a',
    'module.m["\\u00e4"].terraform_data.a',
    'module.m["\\q"].terraform_data.a',
    "module.m[1.5].terraform_data.a",
    "module.m[-1].terraform_data.a",
    "module.m[x].terraform_data.a",
    "module.m[].terraform_data.a",
    "module.m",
    "module",
    "module.m.module",
    "terraform_data",
    "terraform_data.a[0]",
    'terraform_data.a["k"]',
    "terraform_data.a.b",
    "terraform_data.0",
    "terraform_data.a.0",
    "terraform_data.*",
    "terraform_data.a[*]",
    "terraform-data.a-b",
    "_x._y",
    "-x.y",
    "1x.y",
    "x.1y",
    "ä.ö",
    "terraform_data .a",
    " terraform_data.a",
    "terraform_data.a ",
    "terraform_data.a\n",
    "terraform_data.\na",
    "terraform_data..a",
    "terraform_data.a.",
    ".terraform_data.a",
    "count.a",
    "each.a",
    "local.a",
    "path.a",
    "self.a",
    "terraform.a",
    "var.a",
    "template.a",
    "lazy.a",
    "arg.a",
    "true.a",
    "null.a",
    "for.a",
    "data.a",
    "data.count.a",
    "data.data.a",
    "output.a",
    "check.a",
    "module.m.output.a",
    "module.m.check.a",
    "module.m.var.a",
    "output.a.b",
    "a.b # c",
    "a.b /* c */",
    'a["b"]',
    '"a".b',
    "(a.b)",
)
_PROVIDERS = (
    'provider["registry.terraform.io/hashicorp/null"]',
    'provider["hashicorp/null"]',
    'provider["null"]',
    'provider["registry.terraform.io/hashicorp/null"].west',
    'module.m.provider["registry.terraform.io/hashicorp/null"]',
    'module.m[0].provider["registry.terraform.io/hashicorp/null"]',
    "provider.null",
    "provider.null.west",
    "module.m.provider.null",
    "provider",
    "provider.",
    "p",
    'provider["a/b/c/d"]',
    'provider[""]',
    "provider[0]",
    'provider["registry.terraform.io/hashicorp/null"].a.b',
    "not a provider",
)
_VERSIONS = (
    "1",
    "1.2",
    "1.2.3.4",
    "v1.2.3",
    "V1.2.3",
    "1.2.3-beta1",
    "1.2.3beta1",
    "1.2.3-1",
    "1.2.3+meta",
    "1.2.3-beta.1+meta.2",
    "1.2.3-",
    "1.2.3+",
    "1..2",
    ".1",
    "1.",
    "x1",
    "1.x",
    " 1.2.3",
    "1.2.3 ",
    "1.2.3\n",
    "99999999999999999999.1",
    "9223372036854775807.1",
    "1.2.3-~",
    "9.9.9",
    "1.2.3?",
)
_TYPES: tuple[tuple[Any, Any], ...] = (
    ("string", "x"),
    ("string", 1),
    ("string", True),
    ("string", None),
    ("string", []),
    ("number", 1),
    ("number", "1"),
    ("number", "x"),
    ("number", "1e3"),
    ("number", "0x1f"),
    ("number", True),
    ("bool", True),
    ("bool", "true"),
    ("bool", "1"),
    ("bool", "yes"),
    ("bool", 1),
    ("dynamic", "x"),
    ("dynamic", {"value": "x", "type": "string"}),
    ("dynamic", {"value": "x"}),
    ("dynamic", {"type": "string"}),
    ("dynamic", {"value": "x", "type": "string", "more": 1}),
    ("dynamic", None),
    ("nothing", "x"),
    (["list", "string"], ["x"]),
    (["list", "string"], {}),
    (["list", "string"], [[]]),
    (["list", "number"], ["x"]),
    (["list", "dynamic"], [{"value": 1, "type": "number"}]),
    (["list"], []),
    (["list", "string", "more"], []),
    (["list", "nothing"], []),
    (["set", "string"], ["x", "x"]),
    (["map", "string"], {"a": "x"}),
    (["map", "string"], ["x"]),
    (["map", "number"], {"a": "x"}),
    (["tuple", ["string", "number"]], ["x", 1]),
    (["tuple", ["string", "number"]], ["x"]),
    (["tuple", ["string"]], ["x", 1]),
    (["tuple", "string"], ["x"]),
    (["object", {"a": "string"}], {"a": "x"}),
    (["object", {"a": "string"}], {}),
    (["object", {"a": "string"}], {"a": "x", "b": 1}),
    (["object", {"a": "string"}], []),
    (["object", {"a": "string"}, ["a"]], {"a": "x"}),
    (["object", {"a": "string"}, ["b"]], {"a": "x"}),
    (["object", []], {}),
    (["capsule", "x"], 1),
    (["nothing", "string"], []),
    ({"a": "string"}, {"a": "x"}),
    (["list", ["map", ["set", "bool"]]], [{"a": [True]}]),
    (["list", ["map", ["set", "bool"]]], [{"a": ["maybe"]}]),
)
_STEPS: tuple[Any, ...] = (
    [],
    [[]],
    [[{"type": "get_attr", "value": "a"}]],
    [[{"type": "get_attr", "value": 1}]],
    [[{"type": "get_attr", "value": None}]],
    [[{"type": "get_attr"}]],
    [[{"type": "index", "value": {"value": 0, "type": "number"}}]],
    [[{"type": "index", "value": {"value": "k", "type": "string"}}]],
    [[{"type": "index", "value": 0}]],
    [[{"type": "index", "value": "k"}]],
    [[{"type": "index", "value": None}]],
    [[{"type": "index"}]],
    [[{"type": "index", "value": {"value": "x", "type": "number"}}]],
    [[{"type": "other", "value": "a"}]],
    [[{"value": "a"}]],
    [[None]],
    [None],
    [{}],
    {"a": 1},
    "x",
)
_TWINS: tuple[tuple[Path_, str, Any], ...] = (
    ((), "Serial", 9),
    ((), "SERIAL", "x"),
    ((), "Version", 3),
    ((), "Lineage", "other"),
    ((), "Resources", []),
    ((), "\u017ferial", 9),
    (("resources", 0), "Mode", "data"),
    (("resources", 0), "TYPE", "x"),
    (("resources", 0), "Instances", []),
    (_INSTANCE, "Index_Key", "z"),
    (_INSTANCE, "Schema_version", 2),
    (_INSTANCE, "Dependencies", ["!"]),
    (("outputs", "greeting"), "Type", "number"),
    (("outputs", "greeting"), "Sensitive", 1),
    (_CHECK, "Objects", 1),
)
_UNKNOWN: tuple[Path_, ...] = ((), ("resources", 0), _INSTANCE, ("outputs", "greeting"), _CHECK)
_TEXTS: dict[str, bytes] = {
    "empty": b"",
    "space": b" \n",
    "list": b"[]",
    "null": b"null",
    "number": b"4",
    "two-documents": b'{"version":4}{"version":4}',
    "trailing-comma": b'{"version":4,"serial":1,"lineage":"l",}',
    "comment": b'{"version":4,"serial":1,"lineage":"l"} // x',
    "only-version": b'{"version":4}',
    "single-quotes": b"{'version':4}",
    "nan": b'{"version":4,"serial":1,"lineage":"l","x":NaN}',
    "leading-zero": b'{"version":4,"serial":01,"lineage":"l"}',
    "unknown-leading-zero": b'{"version":4,"serial":1,"lineage":"l","x":01}',
    "unknown-bare-minus": b'{"version":4,"serial":1,"lineage":"l","x":-}',
    "unknown-bad-escape": b'{"version":4,"serial":1,"lineage":"l","x":"\\q"}',
    "unknown-control": b'{"version":4,"serial":1,"lineage":"l","x":"\x01"}',
    "unknown-half-surrogate": b'{"version":4,"serial":1,"lineage":"l","x":"\\ud800"}',
    "unknown-huge-number": b'{"version":4,"serial":1,"lineage":"l","x":1e999}',
    "half-surrogate": b'{"version":4,"serial":1,"lineage":"\\ud800"}',
    "bom": b'\xef\xbb\xbf{"version":4,"serial":1,"lineage":"l"}',
    "latin-1": b'{"version":4,"serial":1,"lineage":"\xe4"}',
    "nul": b'{"version":4,"serial":1,"lineage":"l"}\x00',
    "serial-fraction": b'{"version":4,"serial":1.0,"lineage":"l"}',
    "serial-exponent": b'{"version":4,"serial":1e3,"lineage":"l"}',
    "serial-minus-zero": b'{"version":4,"serial":-0,"lineage":"l"}',
    "serial-largest": b'{"version":4,"serial":18446744073709551615,"lineage":"l"}',
    "version-fraction": b'{"version":4.0,"serial":1,"lineage":"l"}',
    "version-1": b'{"version":1,"serial":1,"lineage":"l"}',
    "version-3": b'{"version":3,"serial":1,"lineage":"l","modules":[]}',
    "version-5": b'{"version":5,"serial":1,"lineage":"l"}',
    "twice-serial": b'{"version":4,"serial":1,"serial":2,"lineage":"l"}',
    "twice-bad-serial": b'{"version":4,"serial":"x","serial":2,"lineage":"l"}',
    "encrypted": b'{"serial":1,"lineage":"l","meta":{"key_provider.pbkdf2.x":"e30="},"encrypted_data":"AAAA",'
    b'"encryption_version":"v0"}',
}


def mutants() -> dict[str, bytes]:
    """Return every mutant by its name; always the same."""
    found: dict[str, bytes] = {"healthy": _spell(HEALTHY)}
    for path in _FIELDS:
        for name, value in _ODD.items():
            found[f"{_name(path)}={name}"] = _spell(changed(HEALTHY, path, value))
    found |= {name: _spell(document) for name, document in _special()}
    found |= {f"text:{name}": body for name, body in _TEXTS.items()}
    found |= {name: _spell(document) for name, document in _by_chance()}
    return found


def _special() -> Iterator[tuple[str, Any]]:
    for address in _ADDRESSES:
        yield f"dependency:{address}", changed(HEALTHY, (*_INSTANCE, "dependencies"), [address])
        yield f"module:{address}", changed(HEALTHY, ("resources", 1, "module"), address)
        kinds = ("output", "check", "var", "other") if address.endswith((".a", ".b")) and "." in address[:8] else ()
        for kind in ("resource", *kinds):
            document = changed(HEALTHY, (*_CHECK, "object_kind"), kind)
            document = changed(document, (*_CHECK, "objects"), [])
            yield f"check-{kind}:{address}", changed(document, (*_CHECK, "config_addr"), address)
        document = changed(HEALTHY, (*_CHECK, "objects", 0, "object_addr"), address)
        yield f"check-object:{address}", document
    for provider in _PROVIDERS:
        yield f"provider:{provider}", changed(HEALTHY, ("resources", 0, "provider"), provider)
    for version in _VERSIONS:
        yield f"terraform_version:{version}", changed(HEALTHY, ("terraform_version",), version)
    for kind, value in _TYPES:
        yield f"output:{json.dumps([kind, value])}", changed(HEALTHY, ("outputs", "o"), {"value": value, "type": kind})
    for steps in _STEPS:
        yield f"sensitive:{json.dumps(steps)}", changed(HEALTHY, (*_INSTANCE, "sensitive_attributes"), steps)
    for path, name, value in _TWINS:
        yield f"twin:{_name((*path, name))}", changed(HEALTHY, (*path, name), value)
    for path in _UNKNOWN:
        yield f"unknown:{_name((*path, 'later'))}", changed(HEALTHY, (*path, "later"), {"x": 1})
    for private in ("", "!", "eA", "eA==", "eA==\n", "e A==", "eHh4", [1, 2], [256], [None]):
        yield f"private:{json.dumps(private)}", changed(HEALTHY, (*_INSTANCE, "private"), private)
    for deposed in ("0123ABCD", "zzzzzzzz", "0123abc", "0123abcde", "ääää"):
        yield f"deposed:{deposed}", changed(HEALTHY, ("resources", 0, "instances", 1, "deposed"), deposed)
    for mode in ("managed", "data", "ephemeral", "list", "action", "Managed"):
        yield f"mode:{mode}", changed(HEALTHY, ("resources", 1, "mode"), mode)
    yield from _doubles()


def _doubles() -> Iterator[tuple[str, Any]]:
    first, second = HEALTHY["resources"][0], HEALTHY["resources"][0]["instances"]
    yield "double:instance", changed(HEALTHY, ("resources", 0, "instances"), [*second, second[0]])
    yield "double:deposed", changed(HEALTHY, ("resources", 0, "instances"), [*second, second[1]])
    yield "double:resource", changed(HEALTHY, ("resources",), [*HEALTHY["resources"], first])
    yield "double:empty-resource", changed(HEALTHY, ("resources",), [*HEALTHY["resources"], {**first, "instances": []}])
    for one, other in ((0, "0"), (0, None), (1, 1.0), (1, 1.5), (0, -1), ("", None)):
        rows: list[dict[str, Any]] = [{"index_key": key, "schema_version": 0, "attributes": {}} for key in (one, other)]
        yield f"keys:{one!r},{other!r}", changed(HEALTHY, ("resources", 0, "instances"), rows)


def _by_chance() -> Iterator[tuple[str, Any]]:
    chance = random.Random(SEED)
    names = sorted(_ODD)
    for number in range(CHANCE_MUTANTS):
        document = HEALTHY
        for _ in range(2):
            document = changed(document, chance.choice(_places(document)), _ODD[chance.choice(names)])
        yield f"chance:{number}", document


def _places(value: Any, path: Path_ = ()) -> list[Path_]:
    """Return the places within a document, those inside of attributes left out."""
    found = [path] if path else []
    if path and path[-1] in ("attributes", "identity"):
        return found
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, below in pairs:
        found += _places(below, (*path, step))
    return found


def changed(document: Any, path: Path_, value: Any) -> Any:
    """Return a copy with another value at a place, or without it."""
    copied = copy.deepcopy(document)
    at = copied
    for step in path[:-1]:
        at = at[step]
    if value is _ABSENT:
        if isinstance(at, list):
            del at[path[-1]]
        else:
            at.pop(path[-1], None)
    else:
        at[path[-1]] = copy.deepcopy(value)
    return copied


def _name(path: Path_) -> str:
    return ".".join(map(str, path))


def _spell(document: Any) -> bytes:
    return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")


def is_read(terraform: str, body: bytes, folder: Path) -> bool:
    """Ask a real Terraform whether it can read a state."""
    path = folder / "terraform.tfstate"
    path.write_bytes(body)
    done = subprocess.run(
        [terraform, "state", "list", f"-state={path}"],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=READ_LIMIT_S,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "CHECKPOINT_DISABLE": "1",
            "TF_CLI_CONFIG_FILE": "/dev/null",
        },
    )
    return done.returncode == 0


def sample(count: int) -> list[str]:
    """Return some names of the table, always the same, spread over all kinds."""
    return sorted(mutants(), key=lambda name: hashlib.sha256(f"{SEED} {name}".encode()).digest())[:count]


def read_table() -> dict[str, Any]:
    """Return the stored table: `versions`, and `refused`: name to the versions that refuse the mutant."""
    table: dict[str, Any] = json.loads(TABLE.read_text("utf-8"))
    return table


def digest() -> str:
    """Return a digest of all mutants: the table is of these and no others."""
    found = hashlib.sha256()
    for name, body in mutants().items():
        found.update(name.encode("utf-8", "surrogatepass") + b"\0" + body + b"\0")
    return found.hexdigest()


def main(binaries: list[str]) -> None:
    """Ask each binary about each mutant and write the table."""
    found = mutants()
    versions: list[str] = []
    refused: dict[str, list[str]] = {}
    for binary in binaries:
        shown = subprocess.run([binary, "version", "-json"], capture_output=True, check=True, text=True).stdout
        version = (
            f"{'opentofu' if 'tofu' in Path(binary).name else 'terraform'} {json.loads(shown)['terraform_version']}"
        )
        versions.append(version)
        with tempfile.TemporaryDirectory() as name:
            for mutant, body in found.items():
                if not is_read(binary, body, Path(name)):
                    refused.setdefault(mutant, []).append(version)
        print(version, sum(version in row for row in refused.values()), "of", len(found), "refused", flush=True)  # noqa: T201 - a script's result
    rows = dict(sorted(refused.items()))
    table = {"about": "see tests/state_mutants.py", "mutants": digest(), "versions": versions, "refused": rows}
    TABLE.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
