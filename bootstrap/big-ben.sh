#!/usr/bin/env bash
# Brings the platform up and returns when every Application is Synced and Healthy. Arguments go to `bigben up`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if command -v bigben >/dev/null; then
  exec bigben up --repo . "$@"
fi
exec cargo run --quiet --release -- up --repo . "$@"
