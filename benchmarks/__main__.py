"""Prints all measurements, or those of the modules named on the command line: `python -m benchmarks store`."""

from __future__ import annotations

import sys
from importlib import import_module

from rich.console import Console
from rich.table import Table

from benchmarks import Row

MODULES = (
    "applies",
    "startup",
    "hand_over",
    "waiters",
    "store",
    "encryption",
    "history",
    "aws_store",
    "postgres",
    "server",
    "existing",
    "state",
    "lint",
    "diagnosis",
    "gateway",
    "limits",
)


def main(names: list[str]) -> None:
    for name in names or MODULES:
        rows: list[Row] = import_module(f"benchmarks.{name}").measure()
        Console().print(_table(name, rows))


def _table(name: str, rows: list[Row]) -> Table:
    table = Table("measured", "value", "unit", "baseline", "ratio", "aim", title=name)
    for row in rows:
        table.add_row(row.name, _number(row.value), row.unit, _number(row.baseline), _number(row.ratio), row.aim)
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


if __name__ == "__main__":
    main(sys.argv[1:])
