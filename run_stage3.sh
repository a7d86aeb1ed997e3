#!/usr/bin/env bash
# Stage 3 of Environment Tuning: all four kinds of task, with hints on failed calls.
#
#   bash run_stage3.sh                          starts from the result of stage 2 (outputs/stage2)
#   MODEL=/path/to/model bash run_stage3.sh     starts from another model
#
# Everything else is as for run_stage1.sh; configs/stage3.yaml says what differs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/setup.sh
exec env-tuning train stage3 "$@"
