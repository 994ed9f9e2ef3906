"""`python -m avsbench.cli` is `avsbench`."""

import sys

from avsbench.cli import main

sys.exit(main())
