"""Tables with a question and an answer in each row: CSV by the csv module, Excel by openpyxl."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
from collections.abc import Iterable, Iterator

from lesson.core.messages import UserError, tr
from lesson.data.formats import is_pair
from lesson.data.rows import LONGEST_LINE

MOST_COLUMNS = 64  # of a table, the first
LARGEST_UNPACKED = 64 << 20  # bytes of an Excel file's parts, unpacked
LONGEST_HEADER = 10_000  # characters
DELIMITERS = (",", "\t", ";", "|")


def find_delimiter(head: str, name: str = "") -> str | None:
    """What separates the cells of a table that begins so; None where it is no table.

    The first line of a table names a question and an answer. In a file whose name ends in .csv or .tsv it may name
    anything.
    """
    first = head.lstrip("\ufeff \t\r\n").split("\n", 1)[0].strip()[:LONGEST_HEADER]
    if first.startswith(("{", "[")):
        return None
    for delimiter in DELIMITERS:
        with contextlib.suppress(csv.Error):  # a cell that is too long, or holds NUL
            if is_pair(next(csv.reader([first], delimiter=delimiter), [])):
                return delimiter
    if name.lower().endswith((".csv", ".tsv")):
        return max(DELIMITERS, key=first.count)
    return None


def read_csv(text: str, delimiter: str, path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, {column: cell}) of each row of a table. Raises UserError for a cell that is too long."""
    csv.field_size_limit(LONGEST_LINE)
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=delimiter)

    def rows() -> Iterator[tuple[int, list[str]]]:
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader, None)
            except csv.Error as error:
                remedy = tr("mend the table, or save it as .xlsx", "请修正表格，或另存为 .xlsx")
                raise UserError(f"{path}:{line}", f"CSV: {error}", remedy) from None
            if row is None:
                return
            yield line, row

    yield from _name_cells(rows())


def read_excel(data: bytes, path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(row, {column: cell}) of each row of the sheets that have a question and an answer; of the first when none has.

    Raises UserError for what is no Excel file, or unpacks to more than 64 MiB.
    """
    remedy = tr("save it as .xlsx or CSV again", "请重新另存为 .xlsx 或 CSV")
    import zipfile  # only where needed, as what follows

    try:
        from openpyxl import load_workbook
    except ImportError:
        missing = tr("to read Excel, openpyxl is needed", "读取 Excel 需要 openpyxl")
        raise UserError(path, missing, tr("run make setup", "请运行 make setup")) from None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            unpacked = sum(part.file_size for part in parts.infolist())
        if unpacked > LARGEST_UNPACKED:
            raise UserError(path, tr("unpacks to more than 64 MiB", "解压后超过 64 MiB"), remedy)
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheets = [list(_name_cells(_sheet_rows(sheet))) for sheet in book.worksheets]
    except UserError:
        raise
    except Exception as error:  # whatever the library and the parsers below it make of a damaged file
        raise UserError(path, tr(f"not an Excel file: {error}", f"不是 Excel 文件：{error}"), remedy) from None
    filled = [sheet for sheet in sheets if sheet]
    chosen = [sheet for sheet in filled if is_pair(sheet[0][1])] or filled[:1]
    yield from itertools.chain.from_iterable(chosen)


def _sheet_rows(sheet) -> Iterator[tuple[int, list[str]]]:
    for number, row in enumerate(sheet.iter_rows(max_col=MOST_COLUMNS, values_only=True), 1):
        yield number, ["" if cell is None else _cell_text(cell) for cell in row]


def _cell_text(cell: object) -> str:
    """A cell as Excel shows it: whole numbers without a point."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _name_cells(rows: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, dict[str, str]]]:
    """The cells of each row by the names in the first row that is not empty; rows and columns without text are skipped."""
    names: list[str] | None = None
    for number, row in rows:
        if not any(cell.strip() for cell in row):
            continue
        if names is None:
            names = [cell.strip() for cell in row]
            continue
        cells = itertools.zip_longest(names, row, fillvalue="")
        yield number, {name: cell for name, cell in cells if name or cell.strip()}
