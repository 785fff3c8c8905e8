"""``python -m curveroute.cli``."""

import sys

from curveroute.cli import main

sys.exit(main())
