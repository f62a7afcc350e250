# Functions of tools/isaaclab.sh and tools/mjlab.sh, which set NAME, PINS, VENV, NEEDED (such as "3.12") and WHY, and
# define `fits`. Sourced, not run.

say() { echo "$NAME: $*"; }
fail() { echo "$NAME: $*" >&2; exit 1; }
pin() { grep -iE "^($1)==" "$PINS"; }
pip() { "$VENV/bin/python" -m pip install -qq --disable-pip-version-check -c "$PINS" "$@"; }

find_python() { # one of the candidates, or the one that PYTHON names
    local candidate first=${1#python}
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" && { echo "$PYTHON"; return; }
        fail "PYTHON=$PYTHON is no Python $NEEDED, which $WHY."
    fi
    for candidate in "$@" "$(uv python find "$first" 2>/dev/null || true)"; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 && fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python $NEEDED found, which $WHY. Install one (apt-get install $1-venv, uv python install $first, or pyenv" \
        "install $first), or name one: make $NAME PYTHON=/path/to/$1"
}

make_venv() { # from an interpreter, unless it is there
    [ -x "$VENV/bin/pip" ] && return
    "$1" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$1 cannot make environments. On Debian or Ubuntu type: sudo apt-get install" \
            "$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    say "making $VENV with $("$1" --version)"
    "$1" -m venv "$VENV"
}
