"""Scalars of TensorBoard event files, read without TensorFlow.

A file is a row of records: length (8 bytes, little endian), its masked CRC-32C, the data, its masked CRC-32C. The data of a
record is a protocol buffer ``Event`` with a step and a ``Summary`` of tagged values; only scalars are read.

Source: tensorflow/core/lib/io/record_writer.h (the record format), tensorflow/core/util/event.proto and framework/summary.proto
(field numbers).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from wellfit.core.errors import WellfitError

_POLYNOMIAL, _MASK = 0x82F63B78, 0xA282EAD8
_CHECKED = 4096
"""Records up to this size are checked whole; larger ones hold images, graphs or histograms, and only their length is checked."""


@cache
def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
        entries.append(crc)
    return tuple(entries)


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of some bytes.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def masked_crc(data: bytes) -> int:
    """The CRC as the files hold it: turned right by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def records(data: bytes, name: str) -> Iterator[bytes]:
    """The records of a file. A last record that was cut short (the training still runs, or was killed) ends it quietly.

    Raises:
        WellfitError: a checksum does not fit.
    """
    at = 0
    while at + 12 <= len(data):
        head = data[at:at + 8]
        length, = struct.unpack("<Q", head)
        if masked_crc(head) != struct.unpack("<I", data[at + 8:at + 12])[0]:
            raise WellfitError("This event file is damaged: the checksum of a record's length does not fit.",
                               received=f"{name}, byte {at}", expected="a TensorBoard event file", action="copy the file again")
        end = at + 12 + length
        if end + 4 > len(data):
            return
        body = data[at + 12:end]
        if length <= _CHECKED:
            if masked_crc(body) != struct.unpack("<I", data[end:end + 4])[0]:
                raise WellfitError("This event file is damaged: the checksum of a record does not fit.",
                                   received=f"{name}, byte {at}", expected="a TensorBoard event file", action="copy the file again")
            yield body
        at = end + 4


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """(number, wire type, value) of a protocol buffer's fields: an int for varints, bytes for everything else."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise ValueError("a varint of more than 64 bits")

    while at < len(data):
        key = varint()
        number, wire = key >> 3, key & 7
        if wire == 0:
            yield number, wire, varint()
            continue
        if wire == 2:
            size = varint()
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(data):
            raise ValueError("a field that is longer than its message")
        yield number, wire, data[at:at + size]
        at += size


def scalars(event: bytes) -> tuple[int, list[tuple[str, float]]]:
    """The step of an event and its scalars by tag."""
    step, found = 0, []
    for number, wire, value in fields(event):
        if number == 2 and wire == 0 and isinstance(value, int):
            step = value - (1 << 64) if value >= 1 << 63 else value
        elif number == 5 and isinstance(value, bytes):
            for inner, _, entry in fields(value):
                if inner == 1 and isinstance(entry, bytes) and (scalar := _scalar(entry)) is not None:
                    found.append(scalar)
    return step, found


def _scalar(entry: bytes) -> tuple[str, float] | None:
    """Tag and number of a ``Summary.Value``; None for what is no scalar."""
    tag, result = "", None
    for number, wire, value in fields(entry):
        if number == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8", "replace")
        elif number == 2 and wire == 5 and isinstance(value, bytes):
            result = struct.unpack("<f", value)[0]
        elif number == 8 and isinstance(value, bytes):
            result = _tensor(value)
    return None if result is None or not tag else (tag, float(result))


def _tensor(data: bytes) -> float | None:
    """The one number of a scalar ``TensorProto`` of float32 (dtype 1) or float64 (dtype 2)."""
    kind, content, sizes = 0, b"", []
    for number, _, value in fields(data):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 2 and isinstance(value, bytes):
            sizes = [s for n, _, dim in fields(value) if n == 2 and isinstance(dim, bytes) for m, _, s in fields(dim) if m == 1]
        elif number in (4, 5, 6) and isinstance(value, bytes):  # raw content, or the numbers themselves, packed or alone
            content = value
    wanted = {1: 4, 2: 8}.get(kind)
    if wanted is None or len(content) != wanted or any(s != 1 for s in sizes):
        return None
    return float(struct.unpack("<f" if kind == 1 else "<d", content)[0])


def read_events(path: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every scalar in an event file, by tag, in the order they were written.

    Raises:
        WellfitError: the file cannot be read, or is no event file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WellfitError(f"The file cannot be read: {error.strerror or error}", received=path) from error
    found: dict[str, list[tuple[int, float]]] = {}
    for record in records(data, path.name):
        try:
            step, values = scalars(record)
        except (ValueError, IndexError, struct.error) as error:
            raise WellfitError(f"A record of this event file is no event: {error}.", received=path,
                               expected="a TensorBoard event file") from error
        for tag, value in values:
            found.setdefault(tag, []).append((step, value))
    return found
