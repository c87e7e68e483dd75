#!/usr/bin/env bash
# Compiles app/APP into one static binary at app/APP/dist/APP, where its Dockerfile expects it.
set -euo pipefail
app=${1:?usage: compile.sh APP}
cd "$(dirname "${BASH_SOURCE[0]}")/../../app/$app"
target=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
  cargo build --release --locked --target "$target"
install -D -m 0755 "${CARGO_TARGET_DIR:-target}/$target/release/$app" "dist/$app"
