"""argv in, views out. Each command is one file; `main.py` holds the table of them."""
