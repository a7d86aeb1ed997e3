#!/usr/bin/env bash
# Stage 2 of Environment Tuning: solve the base tasks, with hints on failed calls.
#
#   bash run_stage2.sh                          starts from the result of stage 1 (outputs/stage1)
#   MODEL=/path/to/model bash run_stage2.sh     starts from another model
#
# Everything else is as for run_stage1.sh; configs/stage2.yaml says what differs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/setup.sh
exec env-tuning train stage2 "$@"
