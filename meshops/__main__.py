"""``python -m meshops``."""

import sys

from meshops.cli.main import main

sys.exit(main())
