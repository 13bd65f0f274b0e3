"""make eval: did the assistant learn its name, and did it keep what it knew?

Greedy answers to questions that were not in the training data (data/eval/), under the persona trained on, no system
prompt, a neutral one, and the default that the base's chat template puts in, where it has one. Counted per prompt:
answers that say the new name, the old one, the base's, another assistant's; general questions that the base answers
right and that are still right; general answers that say the new name; whole sentences. Shares stand with 95% intervals.
PROFILE=tiny asks its own questions, a real base data/eval/identity_report.json, which rows and values are never tuned
on (QUESTIONS_SET=tune asks the other half). USE=export asks what make export wrote, in the program that it is for, and
fails where a prompt differs or the name is said less often. CHOICES= names multiple-choice questions of your own files
(ARC, C-Eval, CMMLU): base and tuned model choose, and the difference is shown with a paired interval. Output in the run
folder: eval/evaluation.json, eval/answers.jsonl, eval/evaluation.png, and eval/choices.jsonl with CHOICES.
"""

from __future__ import annotations

import json
import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.evaluation import report
from lesson.evaluation.evaluate import evaluate_run
from lesson.export.evaluation import evaluate_export
from lesson.runs.chosen import lines_of_choice

SETTINGS = ("PROFILE", "BUILD", "RUN", "USE", "FORMAT", "QUANT", "QUESTIONS_SET", "SAMPLES", "CHOICES", "CHOICES_LIMIT")


def stage(values: Values) -> int:
    cli.show_note(lines_of_choice(values))
    if values.text("USE") == "export":
        evaluation, problems = evaluate_export(values, progress=sys.stderr)
        print(
            *report.make_lines(evaluation.result, evaluation.lines, evaluation.folder, trained=evaluation.trained),
            *problems,
            sep="\n",
        )
        return 0 if evaluation.result["passed"] and not problems else 1
    evaluation = evaluate_run(values, progress=sys.stderr)
    if values.format == "json":
        print(json.dumps(evaluation.result, ensure_ascii=False, indent=2))
    else:
        print(
            *report.make_lines(
                evaluation.result, evaluation.lines, evaluation.folder, evaluation.base_names_asked, evaluation.trained
            ),
            sep="\n",
        )
    return 0 if evaluation.result["passed"] else 1


def main(arguments: list[str] | None = None) -> int:
    return cli.run("evaluate", __doc__, SETTINGS, stage, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
