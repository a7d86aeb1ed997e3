# make test       unit tests and one end-to-end run of verl (a bare machine needs only Python and pip)
# make test-all   everything, slow tests included (official package, two workers, kill and resume)
# make lint       ruff, mypy, codespell
# make bench      benchmarks of every part; results go to docs/benchmarks.md by hand, figures to outputs/bench
# make bench-check  fail if an engine has lost a fifth of its lead over what it is measured against
# make bench-trl  stage 1 with our trainer and with TRL's, three rounds (needs the extra sft)
# make bench-stage1  the default training run for three seeds, half an hour
# make bench-tool-grpo  the recipes of tool use on a CPU, three seeds each
# make clean      remove what the project made, the virtual environment excepted

SHELL := /bin/bash
SETUP := set -euo pipefail; EXTRAS=dev; source scripts/setup.sh

.PHONY: test test-all lint bench bench-check bench-trl bench-stage1 bench-tool-grpo clean

test:
	$(SETUP); python -m pytest -m "not slow" tests

test-all:
	$(SETUP); python -m pytest tests

lint:
	$(SETUP); ruff format --check .; ruff check .; mypy; codespell env_tuning docs README.md configs

bench:
	$(SETUP); for script in environments agent_loops rollout_engine; do \
	  echo "== $$script"; python bench/$$script.py --json outputs/bench/$$script.json; done; \
	for script in hints sandbox; do echo "== $$script"; python bench/$$script.py; done

bench-check:
	$(SETUP); python bench/environments.py --check --json outputs/bench/check/environments.json; \
	for script in "agent_loops --quick" rollout_engine; do set -- $$script; \
	  python bench/$$1.py $${2:-} --json outputs/bench/check/$$1.json; done; \
	python bench/check.py outputs/bench/check/*.json

bench-trl:
	set -euo pipefail; EXTRAS=dev,sft; source scripts/setup.sh; python bench/against_trl.py --json outputs/bench/against_trl.json

bench-stage1:
	$(SETUP); python bench/stage1.py --seeds 1 2 3

bench-tool-grpo:
	$(SETUP); python bench/tool_grpo.py --seeds 1 2 3

clean:
	rm -rf .cache outputs logs processed_data/bfcl_v3 processed_data/bfcl_v3_new_prompt processed_data/manifest.json
