#!/bin/sh
# Verifies lane.pml with SPIN, and that every variant with one part of the protocol taken out is found wrong:
#   verify_lane.sh SPIN CC MODEL WORKDIR
# Exit status 0 only when the model holds and all variants fail. Under a minute on an idle core.
set -eu
spin=$1 cc=$2 model=$3 workdir=$4
memory_megabytes=2000
mkdir -p "$workdir"
cd "$workdir"

# search NAME "SPIN'S DEFINES" "PAN'S COMPILE OPTIONS" "PAN'S OPTIONS": leaves pan's report in NAME.txt.
search() {
  mkdir -p "$1"
  (
    cd "$1"
    # shellcheck disable=SC2086  # lists of options
    "$spin" $2 -a "$model" >spin.txt
    # shellcheck disable=SC2086
    "$cc" -O2 -w -DCOLLAPSE -DMEMLIM=$memory_megabytes $3 pan.c -o pan
    # shellcheck disable=SC2086
    ./pan -m1000000 $4 >"../$1.txt" 2>&1 || true
  )
}

errors_of() { sed -n 's/.*errors: \([0-9][0-9]*\).*/\1/p' "$1.txt"; }

must_hold() {
  if [ "$(errors_of "$1")" != 0 ] || grep -q "max search depth too small\|out of memory" "$1.txt"; then
    cat "$1.txt"
    echo "FAIL: $2"
    exit 1
  fi
  echo "holds: $2 ($(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' "$1.txt") states)"
}

search safety "-DMESSAGES=3 -DDEATHS=2" "-DSAFETY -DNOCLAIM" ""
must_hold safety "3 messages, 2 slots, up to 2 deaths: no assertion fails, nobody sleeps for ever"
search delivery "-DMESSAGES=3 -DDEATHS=1" "-DNFAIR=3" "-a -f"
must_hold delivery "3 messages, 2 slots, up to 1 death: all are delivered (weak fairness)"

for variant in NO_FENCE_WAKER NO_FENCE_SLEEPER NO_RECHECK HEAD_FIRST SEQ_FIRST NO_ROOM_WAKE \
  NO_WAKE_ON_ATTACH; do
  search "$variant" "-D$variant -DMESSAGES=3 -DDEATHS=1" "-DSAFETY -DNOCLAIM" ""
  errors=$(errors_of "$variant")
  if [ -z "$errors" ] || [ "$errors" = 0 ]; then
    cat "$variant.txt"
    echo "FAIL: the model does not notice $variant"
    exit 1
  fi
  echo "noticed: $variant ($(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' "$variant.txt"))"
done
