"""CI files, read and written: GitHub Actions, GitLab CI, Azure Pipelines."""

from interlock.ci.reading import find, read, read_all, vendor_of
from interlock.ci.workflow import Job, Problem, Step, Vendor, Workflow

__all__ = ["Job", "Problem", "Step", "Vendor", "Workflow", "find", "read", "read_all", "vendor_of"]
