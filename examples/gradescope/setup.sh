#!/usr/bin/env bash
# Gradescope runs this once, when it builds the image. autograder.zip lies unpacked in /autograder/source.
# Tests set AUTOGRADER_ROOT to put /autograder elsewhere.
set -euo pipefail
source=${AUTOGRADER_ROOT:-}/autograder/source
if [ -z "${AUTOGRADER_ROOT:-}" ]; then
  apt-get update && apt-get install -y python3.11 python3.11-venv || apt-get install -y python3 python3-venv
fi
for python in python3.12 python3.11 python3; do # the first that is there
  "$python" -c "" 2>/dev/null && break
done
cd "$source/lesson"
"$python" -m recipe.setup check
