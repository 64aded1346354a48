"""What a server offers beside Terraform's own protocol: the JSON API, and the doors of other tools.

Joined with the stores in `interlock.compose.serving`, and nowhere else.
"""
