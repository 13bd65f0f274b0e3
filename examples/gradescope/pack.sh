#!/bin/sh
# autograder.zip for Gradescope, written into the folder where this is called: the two scripts and this repository.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
out=$PWD/autograder.zip
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir "$stage/lesson"
tar -C "$here/../.." --exclude=.git --exclude='.venv*' --exclude=./build --exclude=./tests --exclude=./docs \
  --exclude=__pycache__ -cf - . | tar -C "$stage/lesson" -xf -
cp "$here/setup.sh" "$here/run_autograder" "$stage"
cd "$stage"
rm -f "$out"
python3 -m zipfile -c "$out" setup.sh run_autograder lesson
echo "written: $out"
