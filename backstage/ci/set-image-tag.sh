#!/usr/bin/env bash
# Commits a new image tag for one app and environment to main and pushes it.
#
# Several of these may run at the same moment: each starts again from whatever landed first, and none ever forces.
# A tag is text: it is written in quotes, so that 1234567 or 12e4567 stays what it is.
set -euo pipefail
app=${1:?usage: set-image-tag.sh APP ENVIRONMENT TAG}
environment=${2:?usage: set-image-tag.sh APP ENVIRONMENT TAG}
tag=${3:?usage: set-image-tag.sh APP ENVIRONMENT TAG}
remote=${REMOTE:-origin}
branch=${BRANCH:-main}
attempts=${ATTEMPTS:-1000}

if ! [[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$ ]]; then
  echo "set-image-tag: \"$tag\" is not an image tag" >&2
  exit 2
fi
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
file=app/$app/deploy-config/$environment/values.yaml

# Whether the tag that stands in the file belongs to a later commit of the branch than the new one.
is_older() {
  local standing new
  standing=$(sed -n 's/^  tag: "\(.*\)"$/\1/p' "$file")
  [[ $tag =~ ^[0-9a-f]{7}$ && $standing =~ ^[0-9a-f]{7}$ && $tag != "$standing" ]] || return 1
  new=$(git rev-parse --verify --quiet "$tag^{commit}") || return 1
  standing=$(git rev-parse --verify --quiet "$standing^{commit}") || return 1
  git merge-base --is-ancestor "$new" "$standing"
}

# Whether the files are those of the branch as it was last fetched, untouched.
is_checked_out() {
  local tip
  tip=$(git rev-parse --verify --quiet "refs/remotes/$remote/$branch") && [[ $(git rev-parse HEAD) == "$tip" ]] && git diff --quiet HEAD
}

git config user.name > /dev/null || git config user.name "github-actions[bot]"
git config user.email > /dev/null || git config user.email "41898282+github-actions[bot]@users.noreply.github.com"

for ((attempt = 1; attempt <= attempts; attempt++)); do
  # What was just checked out will do as long as nothing else lands; if something does, the push is refused.
  if ((attempt > 1)) || ! is_checked_out; then
    git fetch --quiet "$remote" "$branch"
    git reset --quiet --hard FETCH_HEAD
  fi
  if is_older; then
    echo "$file already names a later commit than $tag"
    exit 0
  fi
  sed -i -E "s/^(  tag|  APP_VERSION): .*/\1: \"$tag\"/" "$file"
  if [[ $(grep -c -F -x -e "  tag: \"$tag\"" -e "  APP_VERSION: \"$tag\"" "$file") != 2 ]]; then
    echo "set-image-tag: $file has no image.tag or env.APP_VERSION line to set" >&2
    exit 1
  fi
  if git diff --quiet -- "$file"; then
    echo "$file already names $tag"
    exit 0
  fi
  git commit --quiet --message "$app: $environment runs $tag" -- "$file"
  if output=$(git push --porcelain "$remote" "HEAD:refs/heads/$branch" 2>&1); then
    echo "$file names $tag (attempt $attempt)"
    exit 0
  fi
  # Another commit landed first, and only that is a reason to start again.
  if ! grep -q -E 'rejected|cannot lock ref|failed to lock|fetch first|non-fast-forward' <<< "$output"; then
    echo "$output" >&2
    exit 1
  fi
done
echo "set-image-tag: $branch moved $attempts times; giving up" >&2
exit 1
