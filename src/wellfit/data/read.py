"""Read a table from a file, whatever its delimiter, decimal mark or encoding."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from wellfit.core.errors import WellfitError, nearest
from wellfit.data.notes import Note, quoted

Source: TypeAlias = "str | os.PathLike[str] | pd.DataFrame"

DELIMITERS = ",;\t|"
ACCEPTED = "a csv, csv.gz, tsv, txt or parquet file, or a pandas DataFrame"
# pandas' own list without "None", which is more often a real category ("no garage") than a missing cell.
MISSING_CELLS = ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
                 "<NA>", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null")
SAMPLE = 1 << 16
_CONTROL = bytes(b for b in range(32) if b not in b"\t\n\r\f\v\x1b") + b"\x7f"
_COMMA_NUMBER = re.compile(r"\s*[-+]?\d+,\d+\s*")
_POINT_NUMBER = re.compile(r"\s*[-+]?\d+\.\d+\s*")


def read_frame(source: Source, *, text: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table as a data frame with unique text column names and at least one row.

    The delimiter (``,`` ``;`` tab ``|``), a decimal comma, gzip and the encoding (UTF-8, UTF-16, Windows-1252 or
    Latin-1) are recognised from the content, so the file's ending does not matter. A data frame is copied.

    Args:
        source: a path, or a data frame.
        text: columns to keep exactly as written, so that a label ``007`` or ``false`` does not become 7 or False.
    """
    return read_with_notes(source, text=text)[0]


def read_with_notes(source: Source, *, text: Sequence[str] = ()) -> tuple[pd.DataFrame, list[Note], str]:
    """As :func:`read_frame`, with what was decided while reading and a short name for the table."""
    notes: list[Note] = []
    if isinstance(source, pd.DataFrame):
        frame, name = source.copy(), "table"
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser()
        name = re.sub(r"\.(gz|csv|tsv|txt|tab|dat|data|parquet|pq)$", "", re.sub(r"\.gz$", "", path.name, flags=re.I),
                      flags=re.I) or path.name
        frame = _read_file(path, text, notes)
    else:
        raise WellfitError("This is not a table wellfit can read.", received=type(source).__name__, expected=ACCEPTED)
    frame = with_plain_names(frame, name, notes)
    if len(frame) == 0:
        raise WellfitError(f"The table {name!r} has column names but no rows.",
                           received=f"columns {quoted(frame.columns)}", expected="at least one row below the header")
    return frame, notes, name


def _read_file(path: Path, text: Sequence[str], notes: list[Note]) -> pd.DataFrame:
    if path.is_dir():
        tables = sorted(p.name for p in path.iterdir() if re.search(r"\.(csv|tsv|txt|parquet)(\.gz)?$", p.name, re.I))
        raise WellfitError("This path is a folder, not a table.", received=str(path), expected=ACCEPTED,
                           action=f"name one of its tables: {quoted(tables)}" if tables else None)
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        close = nearest(path.name, siblings)
        raise WellfitError("There is no such file.", received=str(path), expected=ACCEPTED,
                           action=f"did you mean {str(path.with_name(close))!r}?" if close else
                           "check the path and the current directory")
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise WellfitError("The file cannot be read or unpacked.", received=f"{path}: {error}", expected=ACCEPTED,
                           action="check that it was copied or downloaded completely") from error
    if not data.strip():
        raise WellfitError("The file is empty.", received=str(path), expected=ACCEPTED)
    if data[:4] == b"PAR1":
        return _read_parquet(path, data)
    if data[:4] == b"PK\x03\x04":
        raise WellfitError("This is a zip archive or an Excel workbook.", received=str(path), expected=ACCEPTED,
                           action="save the sheet as csv, or unpack the archive")
    return _read_text(path, _as_utf8(data, path, notes), text, notes)


def _read_parquet(path: Path, data: bytes) -> pd.DataFrame:
    try:
        import pyarrow
    except ImportError as error:
        raise WellfitError("Reading a parquet file needs the package pyarrow, which is not installed.",
                           received=str(path), action="pip install pyarrow, or save the table as csv") from error
    try:
        return pd.read_parquet(io.BytesIO(data), engine="pyarrow")
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise WellfitError("The parquet file is damaged.", received=f"{path}: {_first_line(error)}",
                           expected=ACCEPTED) from error


def _as_utf8(data: bytes, path: Path, notes: list[Note]) -> bytes:
    """The text as UTF-8 without a byte-order mark, or an error when it is no text at all."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return data.decode("utf-16").encode("utf-8")
        except UnicodeDecodeError:
            pass
    head = data[:SAMPLE]
    if b"\0" in head or len(head) - len(head.translate(None, _CONTROL)) > 0.005 * len(head):
        raise WellfitError("The file is not text and no parquet file.",
                           received=f"{path}, which starts with the bytes {data[:12]!r}", expected=ACCEPTED)
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        data.decode("utf-8")
        return data
    except UnicodeDecodeError:
        pass
    for encoding, name in (("cp1252", "Windows-1252 (Latin-1)"), ("latin-1", "Latin-1")):
        try:
            converted = data.decode(encoding).encode("utf-8")
        except UnicodeDecodeError:
            continue
        notes.append(Note("info", "encoding", f"The file is not UTF-8; it was read as {name}."))
        return converted
    raise AssertionError("Latin-1 decodes every byte")


def _sample_rows(sample: str, delimiter: str, limit: int = 100) -> list[list[str]]:
    try:
        rows = [row for row, _ in zip(csv.reader(io.StringIO(sample), delimiter=delimiter, skipinitialspace=True),
                                      range(limit + 1), strict=False) if row]
    except csv.Error:
        return []
    return rows[:limit]


def sniff_delimiter(sample: str) -> str:
    """The delimiter that cuts most lines into as many fields as the header has; a comma when none does.

    >>> sniff_delimiter("a;b\\n1,5;2\\n")
    ';'
    """
    best, best_score = ",", (0.0, 1)
    for delimiter in DELIMITERS:
        rows = _sample_rows(sample, delimiter)
        width = len(rows[0]) if rows else 0
        if width >= 2:
            score = (sum(len(row) == width for row in rows) / len(rows), width)
            if score > best_score:
                best, best_score = delimiter, score
    return best


def _read_text(path: Path, data: bytes, text: Sequence[str], notes: list[Note]) -> pd.DataFrame:
    sample = data[:SAMPLE].decode("utf-8", errors="ignore")
    if len(data) > SAMPLE and "\n" in sample:
        # A quoted cell may hold line breaks, so a header longer than the sample is read in full below.
        sample = sample[:sample.rindex("\n") + 1]
    elif len(data) > SAMPLE:
        sample = data[:1 << 24].decode("utf-8", errors="ignore")
    delimiter = sniff_delimiter(sample)
    rows = _sample_rows(sample, delimiter)
    header = rows[0] if rows else []
    _check_header(path, [field.strip() for field in header], rows[1:])
    fields = [field for row in rows[1:] for field in row]
    commas = sum(bool(_COMMA_NUMBER.fullmatch(field)) for field in fields) if delimiter != "," else 0
    decimal = "," if commas > sum(bool(_POINT_NUMBER.fullmatch(field)) for field in fields) else "."
    if decimal == ",":
        notes.append(Note("info", "decimal_comma", "Numbers were read with a decimal comma."))
    options: dict[str, Any] = dict(
        sep=delimiter, decimal=decimal, encoding="utf-8", skipinitialspace=True, low_memory=False, index_col=False,
        keep_default_na=False, na_values=list(MISSING_CELLS),
        dtype={field: str for field in header if field.strip() in text})
    if int(pd.__version__.split(".")[0]) < 3:
        options["float_precision"] = "round_trip"  # from pandas 3 on the default is exact
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            frame = pd.read_csv(io.BytesIO(data), **options)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
        raise WellfitError("The text file is no regular table.", received=f"{path}: {_first_line(error)}",
                           expected="the same number of fields on every line, as in the header",
                           action="look at the line named, often a missing quote or an unquoted delimiter") from error
    if decimal == ",":
        for name in [column for column in frame.columns if column.strip() in text]:
            frame[name] = _comma_to_point(frame[name])
    return frame


def _check_header(path: Path, header: list[str], rows: list[list[str]]) -> None:
    repeated = [name for name, count in Counter(header).items() if count > 1 and name]
    if repeated:
        numbers = all(re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", name, re.I) for name in repeated)
        raise WellfitError("Several columns have the same name.", received=f"{path}: repeated {quoted(repeated)}",
                           expected="one name per column in the first line",
                           action="add a first line with column names" if numbers else "rename or remove the copies")
    for number, row in enumerate(rows, start=1):
        # One empty field too many is only a delimiter at the end of the line.
        if len(row) > len(header) and (len(row) > len(header) + 1 or row[-1] != ""):
            raise WellfitError("A row has more fields than the first line has names.",
                               received=f"{path}: {len(header)} names, {len(row)} fields in row {number}",
                               expected="one name per column in the first line",
                               action="add the missing names (for example 'row' for unnamed row labels in front), "
                               "or quote cells that contain the delimiter")


def _comma_to_point(column: pd.Series) -> pd.Series:
    """A text column with decimal commas made points, when every cell is a number."""
    points = column.str.replace(",", ".", regex=False)
    numbers = pd.to_numeric(points, errors="coerce")
    return points if bool((numbers.notna() | column.isna()).all()) else column


def with_plain_names(frame: pd.DataFrame, name: str, notes: list[Note]) -> pd.DataFrame:
    """The frame with unique, stripped text names and rows numbered from 0. Changes the frame it is given."""
    if isinstance(frame.columns, pd.MultiIndex):
        raise WellfitError("The columns have several levels of names.", received=f"{frame.columns.nlevels} levels",
                           expected="one name per column", action="join the levels, e.g. with an underscore")
    names = [str(column).strip() for column in frame.columns]
    repeated = [column for column, count in Counter(names).items() if count > 1]
    if repeated:
        raise WellfitError("Several columns have the same name.", received=f"{name}: repeated {quoted(repeated)}",
                           expected="unique column names", action="rename or remove the copies")
    if not names:
        raise WellfitError("The table has no columns.", received=name, expected=ACCEPTED)
    if frame.index.name is not None or isinstance(frame.index, pd.MultiIndex):
        notes.append(Note("info", "index_ignored", f"The row index ({quoted(frame.index.names)}) is not used; "
                          "call reset_index() first to use it as a column."))
    frame.columns = pd.Index(names)
    frame.attrs = {}
    return frame.reset_index(drop=True)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
