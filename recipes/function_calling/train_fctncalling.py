"""The entry point of the function-calling system; `--help` lists the flags, and Hydra overrides may follow them."""

import sys

from env_tuning.function_calling.launching import main

if __name__ == "__main__":
    sys.exit(main())
