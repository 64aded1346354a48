"""Hands: the APIs of GitHub, GitLab and Azure DevOps, as far as a pipeline needs them. Imported by full path."""
