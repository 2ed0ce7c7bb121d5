# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: Apache-2.0
# Sourced by quickstart.sh and test.sh: the Debian packages that the build needs, and how commands are shown and run.
# METVOX_JOBS: how many compilers run at once (default: the cores there are).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=${METVOX_JOBS:-$(nproc)}
packages=(cmake g++ make libisal-dev libdeflate-dev nlohmann-json3-dev libboost-program-options-dev libboost-math-dev libpng-dev
          libdnnl-dev libgtest-dev)

say() { printf '%s\n' "$*" >&2; }

# Shows a command as it could be typed, then runs it.
run() {
  { printf '+'; printf ' %q' "$@"; printf '\n'; } >&2
  "$@"
}

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s\n' "$package"
  done
}

# Installs what is missing, as root or with sudo; without either says what it would install and exits 2.
install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    say "This is not a Debian system; assuming that these are installed: ${packages[*]}"
    return
  fi
  local missing as_root=()
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]})) || return 0
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      say "These Debian packages are missing, and installing them needs root or sudo:"
      say "  apt-get install --no-install-recommends ${missing[*]}"
      exit 2
    fi
    as_root=(sudo)
  fi
  run "${as_root[@]}" apt-get update -q
  run "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# configure BUILD_FOLDER OPTIONS...: Ninja and ccache where they are there.
configure() {
  local build=$1 options=(-DCMAKE_BUILD_TYPE=Release)
  shift
  if [[ ! -e $build/CMakeCache.txt ]] && command -v ninja >/dev/null; then options+=(-G Ninja); fi
  if command -v ccache >/dev/null; then options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
  run cmake -S "$root" -B "$build" "${options[@]}" "$@"
}
