#!/usr/bin/env bash
# Stage 4 of Environment Tuning: the tasks of stage 3 without hints.
#
#   bash run_stage4.sh                          starts from the result of stage 3 (outputs/stage3)
#   MODEL=/path/to/model bash run_stage4.sh     starts from another model
#
# Everything else is as for run_stage1.sh; configs/stage4.yaml says what differs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/setup.sh
exec env-tuning train stage4 "$@"
