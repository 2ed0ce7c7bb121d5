#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# report_spills.sh STRICT compiler arguments...: compiles, and names the kernels whose registers spill into memory, and
# those whose wgmma instructions ptxas serializes or brackets with waits of its own, as ptxas -v tells. With STRICT (ON,
# as in CI) that is an error. The rest of what ptxas tells is kept quiet.
strict=$1
shift
told=$(mktemp)
trap 'rm -f "$told" "$told.losses"' EXIT
"$@" 2>"$told" || { status=$?; grep -v '^ptxas info' "$told" >&2; exit "$status"; }
grep -Ev '^ptxas info|^    [0-9]+ bytes stack frame' "$told" >&2
# C7510, C7511 ...: wgmma serialized; C7517, C7519: warpgroup.wait, warpgroup.arrive injected. They name the kernel.
awk '/^ptxas info *: \(C75[0-9][0-9]\)|^ptxas info.*Potential Performance Loss/ {
       gsub(/^ptxas info *: |\047/, ""); print "slow wgmma: " $0; losses = 1 }
     /Compiling entry function/ { kernel = $0; gsub(/.*function .|. for .sm_.*/, "", kernel); arch = $NF; gsub(/\047/, "", arch) }
     /bytes spill stores/ { if ($5 + $9 > 0) { print "register spills in " kernel " (" arch "):" $0; losses = 1 } }
     END { exit losses }' "$told" >"$told.losses"
losses=$?
"$(command -v c++filt || echo cat)" <"$told.losses" >&2
case $strict in ON | 1 | TRUE | on) exit "$losses" ;; esac
exit 0
