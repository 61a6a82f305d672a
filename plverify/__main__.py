"""``python -m plverify``: the command line."""

from plverify.cli import main

main()
