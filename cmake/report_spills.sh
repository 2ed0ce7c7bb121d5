#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# report_spills.sh STRICT compiler arguments...: compiles, and names the kernels whose registers spill into memory, as
# ptxas -v tells. With STRICT (ON, as in CI) that is an error. The rest of what ptxas tells is kept quiet.
strict=$1
shift
told=$(mktemp)
trap 'rm -f "$told"' EXIT
"$@" 2>"$told" || { status=$?; grep -v '^ptxas info' "$told" >&2; exit "$status"; }
grep -Ev '^ptxas info|^    [0-9]+ bytes stack frame' "$told" >&2
awk '/Compiling entry function/ { kernel = $0; gsub(/.*function .|. for .sm_.*/, "", kernel); arch = $NF; gsub(/\047/, "", arch) }
     /bytes spill stores/ { if ($5 + $9 > 0) { print "register spills in " kernel " (" arch "):" $0; spills = 1 } }
     END { exit spills }' "$told" >"$told.spills"
spills=$?
"$(command -v c++filt || echo cat)" <"$told.spills" >&2
rm -f "$told.spills"
case $strict in ON | 1 | TRUE | on) exit "$spills" ;; esac
exit 0
