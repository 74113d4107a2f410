# Sourced by the other scripts: makes .venv when it is missing or older than pyproject.toml.
#   use_venv EXTRA    installs this project with that extra; sets $python
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

use_venv() {
  local extra=$1 base=${PYTHON:-python3}
  local stamp=.venv/.installed-$extra
  if ! "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "mcpauth-kit needs Python 3.11 or newer; '$base' is $("$base" --version 2>&1). Set PYTHON to another interpreter." >&2
    exit 1
  fi
  if [ ! -x .venv/bin/python ]; then
    echo "Making .venv ($("$base" --version 2>&1))" >&2
    "$base" -m venv .venv
  fi
  python=$PWD/.venv/bin/python
  if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
    echo "Installing what '$extra' needs into .venv" >&2
    "$python" -m pip install --quiet --disable-pip-version-check --editable ".[$extra]"
    touch "$stamp"
  fi
}
