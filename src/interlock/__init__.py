"""Interlock: deterministic Terraform deployments of Genesys Cloud CX."""

__version__ = "0.1.0"
