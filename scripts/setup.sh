# Sourced by the launchers and the Makefile. Makes sure that a virtual environment is active and holds the package:
# an active one is used as it is, otherwise .venv is made here. EXTRAS names extras to install besides the machine's own
# (a variable, because a sourced file without arguments of its own sees those of the launcher).
# Installing is skipped while pyproject.toml and the extras are those of the last time.

_project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

if [ -z "${VIRTUAL_ENV:-}" ]; then
  if [ ! -x "$_project/.venv/bin/python" ]; then
    _python="${PYTHON:-python3}"
    "$_python" -c 'import sys; sys.exit(not ((3, 10) <= sys.version_info[:2] < (3, 13)))' || {
      echo "env-tuning: $("$_python" --version 2>&1) does not fit; Python 3.10 to 3.12 is needed (set PYTHON=/path/to/python3.11)" >&2
      exit 2
    }
    echo "env-tuning: making the virtual environment .venv"
    "$_python" -m venv "$_project/.venv"
  fi
  # shellcheck disable=SC1091
  source "$_project/.venv/bin/activate"
fi

if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q GPU; then
  _extras="vllm"
else
  _extras="cpu"
fi
_extras="$_extras${EXTRAS:+,$EXTRAS}"

# One stamp per set of extras; an installation with more of them serves as well.
_installed=""
for _stamp in "$VIRTUAL_ENV"/.env-tuning-*; do
  [ -f "$_stamp" ] && cmp -s "$_project/pyproject.toml" "$_stamp" || continue
  _installed=yes
  for _extra in ${_extras//,/ }; do [[ "$_stamp-" == *"-$_extra-"* ]] || _installed=""; done
  [ -n "$_installed" ] && break
done
if [ -z "$_installed" ]; then
  echo "env-tuning: installing the package with extras [$_extras] (a few minutes the first time)"
  if [ "${_extras%%,*}" = cpu ]; then
    # Pinned first and alone: any other resolution of torch can pull in gigabytes of GPU packages.
    python -m pip install --quiet --disable-pip-version-check "torch==2.13.0"
    python -m pip install --quiet --disable-pip-version-check -c "$_project/scripts/constraints-cpu.txt" -e "$_project[$_extras]"
  else
    # The engine decides on torch, and the lock on everything: there is one set of versions that verl and it both take.
    python -m pip install --quiet --disable-pip-version-check -c "$_project/scripts/locks/vllm.txt" -e "$_project[$_extras]"
  fi
  cp "$_project/pyproject.toml" "$VIRTUAL_ENV/.env-tuning-${_extras//,/-}"
fi
