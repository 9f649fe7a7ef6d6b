"""`python -m fs_core.cli`, where the script `fs` isn't on the path."""

from fs_core.cli import main

main()
