# Functions for the scripts beside it: finding a Python, and keeping virtual environments. Meant to be sourced.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache

say() { printf '%s\n' "$*" >&2; }

# is_new PYTHON: whether it runs, and is 3.10 or newer.
is_new() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

# find_python: the first suitable Python: $PYTHON, then what PATH has, then pyenv's.
find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.10 python \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[0-9]*/bin/python; do
    if [ -n "$candidate" ] && is_new "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  say "boxd needs Python 3.10 or newer, and none was found. Install one, or name it: PYTHON=/path/to/python $0"
  return 1
}

# all_pythons: one Python of each minor version from 3.10 up, a line each: "3.12 /path/to/python".
all_pythons() {
  local candidate
  for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[0-9]*/bin/python python3.1{0,1,2,3,4} python3; do
    if is_new "$candidate"; then
      "$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2], sys.executable)'
    fi
  done | sort -u -k1,1V
}

# make_env NAME PYTHON WHAT...: a virtual environment in .cache with WHAT installed; prints its path. Nothing is done
# again while pyproject.toml and WHAT stay the same.
make_env() {
  local name=$1 python=$2 env=$cache/env-$1 stamp
  shift 2
  stamp=$("$python" -c 'import sys; print(sys.version)'; printf '%s\n' "$*" "$root"; cat "$root/pyproject.toml")
  if [ "$(cat "$env/stamp" 2>/dev/null)" != "$stamp" ]; then
    say "Setting up $env ..."
    rm -rf "$env"
    mkdir -p "$cache"
    if ! "$python" -m venv "$env"; then
      say "$python cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv"
      return 1
    fi
    (cd "$root" && "$env/bin/python" -m pip install --quiet --disable-pip-version-check "$@") >&2 || return 1
    printf '%s\n' "$stamp" >"$env/stamp"
  fi
  printf '%s\n' "$env"
}

# published_env PYTHON: an environment with the published client, which ours is compared with; prints its path.
published_env() {
  make_env published "$1" --only-binary=:all: boxd==0.1.9
}
