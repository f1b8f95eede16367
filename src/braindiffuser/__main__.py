"""`python -m braindiffuser` is `braindiffuser`."""

from braindiffuser.cli import main

main()
