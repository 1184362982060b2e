#!/usr/bin/env bash
# From a fresh clone: the README's commands, pasted in order into one shell that has nothing active, each as short as
# tests/support/readme.py makes it. --in-full runs them exactly as they stand (hours). The first that fails ends it,
# and the clone stays for a look.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
folder="$(mktemp -d)"
clone="$folder/adabatch"
git clone --quiet "$root" "$clone"
cd "$clone"
if [ "${1:-}" = --in-full ]; then
  commands="$(sed -n '/^```bash$/,/^```$/{/^```/!p}' README.md)"
else
  commands="$(python3 tests/support/readme.py)"
fi
echo "in $clone"
# Of the environment only where this machine's package index is.
env -i HOME="$HOME" PATH="${README_PATH:-/usr/local/bin:/usr/bin:/bin}" $(env | grep -E '^(PIP_|SSL_|https?_proxy|no_proxy)' || true) \
  bash -c "set -euxo pipefail
$commands"
echo "every command of README.md works: $SECONDS s"
rm -rf "$folder"
