"""`python -m projectsetup …`: the same as the command `projectsetup`."""

from projectsetup.cli import main

main()
