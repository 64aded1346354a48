"""`python -m interlock`: the command line."""

from interlock.cli.start import main

main()
