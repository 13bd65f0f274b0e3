"""Rows that are nearly the same, by MinHash."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

from lesson.core.messages import tr

COMPARABLE = 60  # characters from which a row is compared: shorter ones that are alike are paraphrases
COMPARED_TEXT = 2000  # characters of a row that are compared
SIMILAR = 0.9  # Jaccard similarity of character trigrams from which two rows are near duplicates


def can_find_near_duplicates(report: Callable[[str], object]) -> bool:
    """Whether the package datasketch is installed; if not, `report` is called with a line that says so."""
    found = importlib.util.find_spec("datasketch") is not None
    if not found:
        report(
            tr(
                "near duplicates are not looked for: datasketch is not installed (make setup)",
                "不查找近似重复：没有安装 datasketch（make setup）",
            )
        )
    return found


class NearDuplicates:
    """Near duplicates among distinct rows: MinHash and LSH of datasketch (Broder 1997; Leskovec et al., chapter 3)."""

    MOST_ROWS = 10_000  # distinct rows to look among: MinHash takes about 0.1 ms a row
    PERMUTATIONS = 64

    def __init__(self) -> None:
        self._texts: list[tuple[int, str]] = []

    def add_text(self, number: int, text: str) -> None:
        """Take in the text of a distinct row, which stands in line `number`; too short a text is left out."""
        if len(text) >= COMPARABLE:
            self._texts.append((number, text[:COMPARED_TEXT]))

    @staticmethod
    def _shingles(text: str) -> set[str]:
        return {text[i : i + 3] for i in range(max(1, len(text) - 2))}

    def find_pairs(self) -> Iterator[tuple[int, int, float]]:
        """(line, earlier line, exact Jaccard similarity of at least SIMILAR); one earlier line for each line."""
        if len(self._texts) < 2:
            return
        import zlib

        from datasketch import MinHash, MinHashLSH  # half a second, so only here

        index = MinHashLSH(params=(16, 4), num_perm=self.PERMUTATIONS)
        empty = MinHash(self.PERMUTATIONS, seed=1, hashfunc=lambda data: zlib.crc32(data))
        for position, (number, text) in enumerate(self._texts):
            shingles = self._shingles(text)
            sketch = empty.copy()
            sketch.update_batch([s.encode() for s in shingles])
            best, share = None, 0.0
            for other in index.query(sketch)[:50]:
                against = self._shingles(self._texts[other][1])
                alike = len(shingles & against) / len(shingles | against)
                if alike > share:
                    best, share = other, alike
            if best is not None and share >= SIMILAR:
                yield number, self._texts[best][0], share
            else:
                index.insert(position, sketch)
