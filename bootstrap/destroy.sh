#!/usr/bin/env bash
# Takes the platform down. Arguments go to `bigben down`; --purge also deletes its state.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if command -v bigben >/dev/null; then
  exec bigben down --repo . "$@"
fi
exec cargo run --quiet --release -- down --repo . "$@"
