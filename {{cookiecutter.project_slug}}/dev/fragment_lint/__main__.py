"""Run the linter: `python -m dev.fragment_lint`."""

import sys

from . import main

sys.exit(main())
