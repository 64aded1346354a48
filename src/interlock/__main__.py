"""`python -m interlock`: the command line."""

from interlock.cli.main import main

main()
