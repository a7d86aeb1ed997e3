#!/usr/bin/env bash
# Stage 1 of Environment Tuning: learn to speak the protocol and to write calls that run.
#
#   bash run_stage1.sh                                     the whole default run, whatever the machine
#   MODEL=/path/to/model bash run_stage1.sh                another model
#   bash run_stage1.sh trainer.total_epochs=1 hardware=cpu every further argument is a Hydra override
#
# What happens: a virtual environment and the package are installed if they are missing, the BFCL data is built into
# processed_data/, and without a GPU and a MODEL a tiny model is made on this machine. Then configs/stage1.yaml runs
# verl's GRPO trainer. Run it again after an interruption and it continues from the last checkpoint.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/setup.sh
exec env-tuning train stage1 "$@"
