#!/usr/bin/env bash
# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
# Makes the virtual environment and installs the package and its messages into it. Called by the Makefile:
#   bash tools/install.sh PYTHON VENV run|dev
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 venv=$2 mode=$3

say() { printf '== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Installs Debian packages, after saying which and why; without the rights, prints the command and stops.
apt_install() {
  local why=$1 sudo=''
  shift
  say "missing system packages: $* ($why)"
  command -v apt-get >/dev/null || die "this is not Debian or Ubuntu; install the equivalent of: $*"
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
      sudo=sudo
    else
      die "installing them needs root; run: sudo apt-get install -y $*"
    fi
  fi
  say "installing them: ${sudo:+sudo }apt-get install -y $*"
  $sudo apt-get update
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y --no-install-recommends "$@" \
    || die "apt-get could not install: $*; repair apt, then run make again"
}

has_library() { ldconfig -p 2>/dev/null | grep -q "$1" || compgen -G "/usr/lib/*/$1*" >/dev/null; }

command -v "$python" >/dev/null || apt_install 'the language' python3 python3-venv python3-dev
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
  3.10|3.11|3.12) ;;
  *) die "$python is Python $version; Apprentice needs 3.10, 3.11 or 3.12: make PYTHON=python3.11 ..." ;;
esac

missing=()
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=("python$version-venv")
[ ${#missing[@]} -eq 0 ] || apt_install 'makes virtual environments' "${missing[@]}"

# a sourced ROS 2 installation that this Python can use is used
ros=no
if "$python" -c 'import rclpy' 2>/dev/null; then ros=yes; fi
interfaces=wheel
if [ $ros = yes ] && "$python" -c 'import apprentice_interfaces.msg' 2>/dev/null; then interfaces=present; fi

missing=()
has_library libEGL.so.1 || missing+=(libegl1)
compgen -G '/usr/lib/*/dri/*_dri.so' >/dev/null || missing+=(libgl1-mesa-dri)
[ ${#missing[@]} -eq 0 ] || apt_install 'the simulator renders camera images with them' "${missing[@]}"

if [ $interfaces = wheel ]; then
  missing=()
  command -v c++ >/dev/null || missing+=(g++)
  include=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
  [ -e "$include/Python.h" ] || missing+=("python$version-dev")
  [ ${#missing[@]} -eq 0 ] || apt_install 'the messages are compiled' "${missing[@]}"
fi
if [ "$mode" = dev ] && ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null \
  && ! command -v google-chrome >/dev/null; then
  # on Ubuntu chromium is a snap, which containers cannot install
  (apt_install 'a test opens the dashboard in a browser' chromium) \
    || say 'going on without chromium: the test of the dashboard in a browser will be skipped'
fi

if [ ! -x "$venv/bin/python" ]; then
  say "making $venv with Python $version"
  if [ $ros = yes ]; then
    "$python" -m venv --system-site-packages "$venv"
  else
    "$python" -m venv "$venv"
  fi
fi
rm -f "$venv/.installed" "$venv/.installed-dev"
[ -e "$venv/COLCON_IGNORE" ] || touch "$venv/COLCON_IGNORE"

extras=() packages=() constraints=constraints.txt
if [ $ros = yes ]; then
  # the messages of the installation are compiled for its own numpy
  constraints=$venv/constraints.txt
  grep -v -E '^(numpy|matplotlib|ros-|apprentice_interfaces)' constraints.txt > "$constraints"
  "$python" -c 'import numpy; print(f"numpy=={numpy.__version__}")' >> "$constraints"
fi
[ $ros = yes ] || extras+=(ros)
[ "$mode" = dev ] && extras+=(dev)
list=$(IFS=,; echo "${extras[*]:-}")
packages=(-e ".${list:+[$list]}")
case $interfaces in
  wheel)
    if [ $ros = yes ]; then
      die "ROS 2 is sourced but apprentice_interfaces is not built yet: run colcon build, source install/setup.bash, \
then make again (or use a shell without ROS: everything then comes from pip)"
    fi
    packages+=(./interfaces) ;;
  present) say 'using rclpy and apprentice_interfaces of the sourced ROS 2 installation' ;;
esac

# an old pip (23.0, as on Debian 12) can search for minutes and find no set of versions
"$venv/bin/python" -m pip install --disable-pip-version-check --upgrade -c "$constraints" pip
say "installing ${packages[*]}: about 3 GB to download, 6 GB on disk, a few minutes"
"$venv/bin/python" -m pip install --disable-pip-version-check -c "$constraints" "${packages[@]}"
touch "$venv/.installed"
[ "$mode" = dev ] && touch "$venv/.installed-dev"
say "installed into $venv"
