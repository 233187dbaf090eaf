# Shared by scripts/run and scripts/test: a virtual environment in .venv, made or reused.
# Usage: . scripts/venv.sh; kb_venv EXTRAS   (EXTRAS such as "[test]", or empty)

kb_fail() {
    echo "$(basename "$0"): $1" >&2
    exit 1
}

kb_python() {
    for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] || continue
        command -v "$candidate" >/dev/null 2>&1 || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

kb_venv() {
    extras="$1"
    python=$(kb_python) || kb_fail "Python 3.11 or newer is needed (found: $(python3 --version 2>&1 || echo none)). Install it, or name one: PYTHON=/path/to/python3.11 $0"
    # A cut-off or foreign environment is made anew; a whole one is reused.
    if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        rm -rf .venv
        "$python" -m venv .venv >.venv.log 2>&1 || {
            rm -rf .venv
            if grep -qi 'ensurepip' .venv.log; then
                rm -f .venv.log
                kb_fail "Python's venv module is incomplete here. On Debian or Ubuntu: apt-get install python3-venv, then run this again"
            fi
            kb_fail "could not make .venv: $(tail -n 1 .venv.log). See .venv.log"
        }
        rm -f .venv.log
    fi
    # Installed again only when what is wanted changed; an environment with extras serves without them too.
    want="$(cat setup.cfg pyproject.toml kb/__init__.py | cksum) $(pwd)"
    for marker in .venv/installed"$extras"*; do
        [ "$(cat "$marker" 2>/dev/null)" != "$want" ] || return 0
    done
    echo "Installing into .venv (once; needs the package index) ..." >&2
    if ! .venv/bin/python -m pip install --disable-pip-version-check --quiet -e ".$extras" >.venv/pip.log 2>&1; then
        kb_fail "pip could not install: $(grep -i 'error' .venv/pip.log | head -n 1). Is the package index reachable? See .venv/pip.log"
    fi
    printf '%s' "$want" >.venv/installed"$extras"
}
