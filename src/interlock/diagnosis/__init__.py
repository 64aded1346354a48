"""What a failed run says: log or events -> root causes, whether a retry is safe, and the next command."""

from interlock.diagnosis.cause import Category, Cause, Retry
from interlock.diagnosis.diagnose import Diagnosis, diagnose
from interlock.diagnosis.failure import classify, error_of
from interlock.diagnosis.reader import read_events, read_messages, read_text

__all__ = [
    "Category",
    "Cause",
    "Diagnosis",
    "Retry",
    "classify",
    "diagnose",
    "error_of",
    "read_events",
    "read_messages",
    "read_text",
]
