"""One rule per file: `hcl_*.py` for Terraform, `ci_*.py` for CI, `settings_*.py` for ours. Listed in `catalogue.py`."""
