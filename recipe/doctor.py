"""make doctor: is everything here that the chosen profile needs? A table, or JSON with FORMAT=json; exit 1 if not.

Each check is a small function whose docstring is the line that the user sees. It returns what was found, or raises
Missing with what is wrong and the command that mends it.
"""

from __future__ import annotations

import json
import sys

from lesson.core import cli
from lesson.core.messages import tr
from lesson.core.settings import Values
from lesson.install import doctor

SETTINGS = ("PROFILE", "BUILD", "FORMAT", "BASE_CONFIG")


def stage(values: Values) -> int:
    diagnoses = []
    for diagnosis in doctor.examine_machine(values):
        diagnoses.append(diagnosis)
        if values.format == "text":
            print(*doctor.lines_of(diagnosis), sep="\n", flush=True)
    passed = all(diagnosis.ok for diagnosis in diagnoses)
    if values.format == "json":
        print(json.dumps(doctor.document_of(values.profile, diagnoses), ensure_ascii=False, indent=2))
    elif passed:
        print(
            tr(
                f"everything is here for PROFILE={values.profile}; next: make data && make train",
                f"PROFILE={values.profile} 所需的都已就绪；下一步：make data && make train",
            )
        )
    return 0 if passed else 1


def main(arguments: list[str]) -> int:
    return cli.run("doctor", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
