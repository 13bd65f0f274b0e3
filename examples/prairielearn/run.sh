#!/bin/sh
# Entrypoint of PrairieLearn's external grader. The learner's files are in /grade/student, the result goes to
# /grade/results/results.json. Nothing that was handed in is run. Tests set GRADE_ROOT to put /grade elsewhere.
set -u
grade=${GRADE_ROOT:-}/grade
lesson=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
mkdir -p "$grade/results" # PrairieLearn does not make it
results=$grade/results/results.json

# The one file that was handed in, or the folder of several.
set -- "$grade/student"/*
if [ $# -eq 1 ] && [ -f "$1" ]; then submission=$1; else submission=$grade/student; fi

cd -- "$lesson" || exit
PYTHONUTF8=1 "${CHECK_VENV:-.venv-check}/bin/python" -m recipe.check --report="prairielearn:$results" -- "$submission"
# No result: the grader's trouble, which costs the learner nothing.
[ -s "$results" ] || echo '{"gradable": false, "format_errors": ["The grader failed. Tell the staff."]}' >"$results"
