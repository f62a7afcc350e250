#!/usr/bin/env bash
# Makes .venv with the pinned dependencies and this project in it. Called by `make setup`.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }
can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }
apt_install() { (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@") >/dev/null; }
is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for name in ${PYTHON:-python3.11 python3}; do
        if command -v "$name" >/dev/null && is_new_enough "$name"; then echo "$name"; return; fi
    done
    fail "no Python 3.11 or newer found. Name one: make setup PYTHON=/path/to/python3.11"
}

make_venv() {
    local python=$1
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        local package
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        can_apt || fail "$python cannot make environments. Type: sudo apt-get install $package"
        say "installing the system package $package"
        apt_install "$package"
    fi
    say "making .venv with $("$python" --version)"
    "$python" -m venv .venv
}

can_render() { MUJOCO_GL=$1 .venv/bin/python -c 'import mujoco; mujoco.GLContext(64, 64).make_current()' >/dev/null 2>&1; }

video_libraries() {
    local packages="libegl1 libegl-mesa0 libgl1-mesa-dri"
    if can_render egl || can_render osmesa; then return; fi
    if can_apt; then
        say "installing the system packages for video: $packages"
        # shellcheck disable=SC2086
        apt_install $packages && can_render egl && return
    fi
    say "no headless OpenGL found: all works but video=true. For video type: sudo apt-get install $packages"
}

python=$(find_python)
[ -x .venv/bin/pip ] || make_venv "$python"
torch=$(grep '^torch==' constraints.txt)
say "installing $torch (the largest part, some minutes on a slow line)"
.venv/bin/pip install -qq --disable-pip-version-check "$torch"
say "installing the other pinned dependencies and this project"
bash tools/alone.sh .venv/bin/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
video_libraries
say "ready. Next: make demo, or .venv/bin/python launch.py --help"
