# make test       unit tests and one end-to-end run of verl (a bare machine needs only Python and pip)
# make test-all   everything, slow tests included (official package, two workers, kill and resume)
# make lint       ruff, mypy, codespell
# make bench      benchmarks of environments and engine; results go to docs/benchmarks.md by hand
# make bench-stage1  the default training run for three seeds, half an hour
# make bench-tool-grpo  the recipes of tool use on a CPU, three seeds each
# make clean      remove what the project made, the virtual environment excepted

SHELL := /bin/bash
SETUP := set -euo pipefail; EXTRAS=dev; source scripts/setup.sh

.PHONY: test test-all lint bench bench-stage1 bench-tool-grpo clean

test:
	$(SETUP); python -m pytest -m "not slow" tests

test-all:
	$(SETUP); python -m pytest tests

lint:
	$(SETUP); ruff format --check .; ruff check .; mypy; codespell env_tuning docs README.md configs

bench:
	$(SETUP); for script in environments rollout_engine hints sandbox; do echo "== $$script"; python bench/$$script.py; done

bench-stage1:
	$(SETUP); python bench/stage1.py --seeds 1 2 3

bench-tool-grpo:
	$(SETUP); python bench/tool_grpo.py --seeds 1 2 3

clean:
	rm -rf .cache outputs logs processed_data/bfcl_v3 processed_data/bfcl_v3_new_prompt processed_data/manifest.json
