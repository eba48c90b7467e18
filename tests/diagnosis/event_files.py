"""Writes TensorBoard event files, bit by bit and with its own checksums, so that the reader is not checked against itself."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np


def crc32c(data: bytes) -> int:
    """Bit by bit, from the definition: reflected polynomial 0x1EDC6F41."""
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            feedback = (crc ^ (byte >> bit)) & 1
            crc >>= 1
            if feedback:
                crc ^= int(f"{0x1EDC6F41:032b}"[::-1], 2)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) % 2**32)


def record(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return head + masked(head) + data + masked(data)


def varint(value: int) -> bytes:
    out = b""
    while True:
        value, low = value >> 7, value & 0x7F
        out += bytes([low | (0x80 if value else 0)])
        if not value:
            return out


def field(number: int, payload: bytes | int | float) -> bytes:
    """A length-delimited field for bytes, a varint for int, a fixed32 for float."""
    if isinstance(payload, bytes):
        return varint(number << 3 | 2) + varint(len(payload)) + payload
    if isinstance(payload, int):
        return varint(number << 3) + varint(payload)
    return varint(number << 3 | 5) + struct.pack("<f", payload)


def simple(tag: str, value: float) -> bytes:
    """A Summary.Value as PyTorch writes it."""
    return field(1, tag.encode()) + field(2, float(value))


def tensor(tag: str, value: float, *, double: bool = False, listed: bool = False) -> bytes:
    """A Summary.Value as TensorFlow 2 writes it: metadata, and a tensor with its content raw or in a list."""
    raw = struct.pack("<d" if double else "<f", value)
    body = field(1, 2 if double else 1) + field(2, b"")
    body += field(6 if double else 5, raw) if listed else field(4, raw)
    return field(1, tag.encode()) + field(9, field(1, field(1, b"scalars"))) + field(8, body)


def event(step: int, *values: bytes) -> bytes:
    summary = b"".join(field(1, value) for value in values)
    return varint(1 << 3 | 1) + struct.pack("<d", 1.7e9 + step) + field(2, step) + (field(5, summary) if values else b"")


def write_events(path: Path, events: list[bytes]) -> Path:
    """An event file: the version first, then the events."""
    path.parent.mkdir(parents=True, exist_ok=True)
    version = varint(1 << 3 | 1) + struct.pack("<d", 1.7e9) + field(3, b"brain.Event:2")
    path.write_bytes(b"".join(map(record, [version, *events])))
    return path


def overfitting(count: int = 60, seed: int = 0) -> tuple[list[float], list[float]]:
    """A training loss that falls and a validation loss that turns up after a quarter."""
    rng, e = np.random.default_rng(seed), np.arange(count)
    train = 0.65 * np.exp(-e / (count / 5)) + 0.02 + rng.normal(0, 0.003, count)
    held = 0.35 + 0.3 * np.exp(-e / (count / 12)) + 0.45 * np.clip(e / count - 0.25, 0, None) + rng.normal(0, 0.004, count)
    return train.tolist(), held.tolist()
