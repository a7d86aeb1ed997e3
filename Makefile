# make test       unit tests and one end-to-end run of verl (a bare machine needs only Python and pip)
# make test-all   everything, slow tests included (official package, two workers, kill and resume)
# make lint       ruff, mypy, codespell
# make bench      benchmarks; results go to docs/benchmarks.md by hand
# make clean      remove what the project made, the virtual environment excepted

SHELL := /bin/bash
SETUP := set -euo pipefail; source scripts/setup.sh dev

.PHONY: test test-all lint bench clean

test:
	$(SETUP); python -m pytest -m "not slow" tests

test-all:
	$(SETUP); python -m pytest tests

lint:
	$(SETUP); ruff format --check .; ruff check .; mypy; codespell env_tuning docs README.md configs

bench:
	$(SETUP); for script in bench/*.py; do echo "== $$script"; python $$script; done

clean:
	rm -rf .cache outputs logs processed_data/bfcl_v3 processed_data/bfcl_v3_new_prompt processed_data/manifest.json
