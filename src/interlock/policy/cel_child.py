"""Answers checks in CEL: a process of its own, since an expression may take any time and any memory.

It reads one JSON document, `{"plan": …, "checks": [{"name", "expression"}]}`, and prints one line for each check as it
is answered: `{"name", "passed", "error"}`. It is bounded by the kernel, not by trust in the library: processor time,
memory, no file can be written. A check without an answer when it ends has none.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

CPU_S = 5
"""Processor seconds for all checks together; one over 2,000 resources takes some 0.01."""
MEMORY_BYTES = 1 << 30


def main() -> int:
    """Answer."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    asked = json.load(sys.stdin)
    try:
        from cel_expr_python import cel
    except ImportError:
        return 3
    environment = cel.NewEnv(variables={"plan": cel.Type.DYN})
    for check in asked["checks"]:
        passed, error = _answer(cel, environment, check["expression"], asked["plan"])
        sys.stdout.write(json.dumps({"name": check["name"], "passed": passed, "error": error}) + "\n")
        sys.stdout.flush()
    return 0


def _answer(cel: Any, environment: Any, expression: str, plan: object) -> tuple[bool, str]:
    try:
        found = environment.compile(expression).eval(data={"plan": plan})
        if found.type() == cel.Type.ERROR:
            return False, _plain(str(found))
        value = found.value()
    except Exception as error:  # noqa: BLE001 - whatever the library raises, the check has no answer
        return False, _plain(str(error))
    return (value, "") if isinstance(value, bool) else (False, "it is neither true nor false")


def _plain(text: str) -> str:
    """Return the first line of what the library said, without its codes."""
    line = text.strip().splitlines()[0] if text.strip() else "no reason was given"
    for code in ("INVALID_ARGUMENT: ", "NOT_FOUND: ", "ERROR: ", "<input>:"):
        line = line.removeprefix(code)
    return line[:300]


if __name__ == "__main__":
    sys.exit(main())
