#!/bin/sh
# A training script for `hpo` that needs nothing but sh and awk: gradient descent with momentum on
# f(x, y) = (x² + 20·y²) / 2 from (1, 1). The best momentum depends on the learning rate, so there
# is something to find.
#
# What it does for `hpo`:
#   - takes its configuration from its arguments (--lr=… --momentum=…);
#   - prints a line of JSON after "[hpo] " for each step;
#   - keeps a checkpoint, and goes on from it when HPO_RESUME_FROM is set;
#   - stops after step HPO_BUDGET, if that is set.
set -eu

lr=0.01
momentum=0
for argument in "$@"; do
  case $argument in
    --lr=*) lr=${argument#--lr=} ;;
    --momentum=*) momentum=${argument#--momentum=} ;;
  esac
done

# step, x, y and the two velocities
state="0 1 1 0 0"
if [ -n "${HPO_RESUME_FROM:-}" ] && [ -f "$HPO_RESUME_FROM/state" ]; then
  state=$(cat "$HPO_RESUME_FROM/state")
fi
last=${HPO_BUDGET:-${HPO_BUDGET_MAX:-27}}

printf '%s\n' "$state" | awk -v lr="$lr" -v momentum="$momentum" -v last="$last" \
  -v checkpoints="${HPO_CHECKPOINT_DIR:-}" '
{
  step = $1; x = $2; y = $3; vx = $4; vy = $5
  while (step < last) {
    vx = momentum * vx - lr * x
    vy = momentum * vy - lr * 20 * y
    x += vx
    y += vy
    step++
    if (checkpoints != "") {
      # Written aside and renamed, so that a kill leaves the old one or the new one, never half.
      new = checkpoints "/state.new"
      printf "%d %.17g %.17g %.17g %.17g\n", step, x, y, vx, vy > new
      close(new)
      system("mv \"" new "\" \"" checkpoints "/state\"")
    }
    printf "[hpo] {\"step\": %d, \"loss\": %.9g}\n", step, (x * x + 20 * y * y) / 2
    fflush()
  }
}'
