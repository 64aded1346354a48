"""Terraform's HTTP state backend. The pure protocol is re-exported; `gate` and `asgi` are hands."""

from interlock.backend.protocol import (
    Absent,
    Answer,
    Delete,
    Done,
    Found,
    Give,
    Held,
    Intent,
    Outcome,
    Read,
    Refused,
    Take,
    Taken,
    Write,
    answer,
    read_intent,
)

__all__ = [
    "Absent",
    "Answer",
    "Delete",
    "Done",
    "Found",
    "Give",
    "Held",
    "Intent",
    "Outcome",
    "Read",
    "Refused",
    "Take",
    "Taken",
    "Write",
    "answer",
    "read_intent",
]
