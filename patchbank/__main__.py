"""`python -m patchbank` is the command `patchbank`."""

from patchbank.cli import main

raise SystemExit(main())
