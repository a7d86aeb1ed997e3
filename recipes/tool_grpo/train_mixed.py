"""The entry point of the system `mixed`; `--help` lists the flags, and Hydra overrides may follow them."""

import sys

from env_tuning.tool_grpo.launching import main

if __name__ == "__main__":
    sys.exit(main("mixed"))
