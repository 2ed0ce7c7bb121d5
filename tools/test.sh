#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds everything with warnings as errors, runs every test. Arguments go to ctest, such as
# -R kernels.conv3d.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

install_packages
build=$root/build-test
configure "$build" -DMETVOX_TESTS=ON -DMETVOX_WERROR=ON
run cmake --build "$build" --parallel "$jobs"
status=0
run ctest --test-dir "$build" --output-on-failure --no-tests=error "$@" | tee "$build/ctest.log" || status=$?
# ctest's own count, as "N passed, N failed".
sed -nE 's/^[0-9]+% tests passed, ([0-9]+) tests failed out of ([0-9]+)$/\1 \2/p' "$build/ctest.log" |
  { read -r failed all && printf '%d passed, %d failed\n' "$((all - failed))" "$failed" || printf '0 passed, 0 failed: no test ran\n'; }
exit "$status"
