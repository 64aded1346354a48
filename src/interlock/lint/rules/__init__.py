"""One rule per file: `hcl_*.py` for Terraform, `ci_*.py` for CI files. Listed in `catalogue.py`."""
