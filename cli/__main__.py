"""`python -m cli`: the command line without its installation."""

import sys

from cli.main import main

sys.exit(main())
