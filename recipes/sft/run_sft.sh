#!/usr/bin/env bash
# Supervised fine-tuning for tool calling.
#
#   bash recipes/sft/run_sft.sh                                   on a machine without a GPU: a tiny model, on the CPU
#   MODEL=/path/to/model bash recipes/sft/run_sft.sh              a Hugging Face folder or hub id, on all GPUs
#   bash recipes/sft/run_sft.sh trainer=trl epochs=5              every further argument is a key of sft.yaml
#
# What happens: a virtual environment and the package are installed if they are missing, the two data sets are written
# into processed_data/sft, and the model is trained and measured beside the one it started from. Run it again after an
# interruption and it continues from the last checkpoint.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case " $* " in *" trainer=trl "*) EXTRAS="${EXTRAS:+$EXTRAS,}sft" ;; esac
source scripts/setup.sh
exec env-tuning sft train --evaluate "$@"
