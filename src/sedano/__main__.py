"""`python -m sedano` is the `sedano` command."""

import sys

from sedano.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
