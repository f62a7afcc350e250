"""Run `python -m regimen.cli`, where the command `regimen` is not on the PATH."""

import sys

from regimen.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
