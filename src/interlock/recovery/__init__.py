"""When a holder seems gone: evidence, a verdict, and a procedure that breaks a lock only on proof (promise P5)."""

from interlock.recovery.evidence import Evidence, Says
from interlock.recovery.verdict import Conclusion, Verdict, judge

__all__ = ["Conclusion", "Evidence", "Says", "Verdict", "judge"]
