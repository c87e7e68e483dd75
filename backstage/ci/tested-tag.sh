#!/usr/bin/env bash
# Prints the tag of the image that was tested and built from the very source of app/APP that is checked out,
# or nothing when there is none: then it has to be built.
set -euo pipefail
app=${1:?usage: tested-tag.sh APP IMAGE}
image=${2:?usage: tested-tag.sh APP IMAGE}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tag=$(sed -n 's/^  tag: "\(.*\)"$/\1/p' "app/$app/deploy-config/developer/values.yaml")
if git rev-parse --verify --quiet "$tag^{commit}" > /dev/null \
  && git diff --quiet "$tag" HEAD -- "app/$app" ":(exclude)app/$app/deploy-config" \
  && docker buildx imagetools inspect "$image:$tag" > /dev/null; then
  echo "$tag"
fi
