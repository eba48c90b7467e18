"""What the benchmark scripts share: the environment, tables of text, spreads, JSON on disk."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
_PACKAGES = ("wellfit", "torch", "numpy", "pandas", "scikit-learn", "optuna", "xgboost")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(**more: Any) -> dict[str, Any]:
    """Versions and the machine: what a time or a score depends on."""
    import torch

    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed (source tree)" if name == "wellfit" else "not installed"
    return {"created": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions,
            "platform": f"{platform.system()} {platform.machine()}", "cpu": _cpu_model(), "cores": cores(),
            "torch_threads": torch.get_num_threads(), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
            "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None, **more}


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


# ---- numbers


def spread(values: Sequence[float]) -> dict[str, float]:
    """Smallest, middle and largest."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def shown(found: dict[str, float], digits: int = 1) -> str:
    """A spread as text: ``median (min to max)``.

    >>> shown(spread([1.0, 3.0, 2.0]))
    '2.0 (1.0 to 3.0)'
    """
    return f"{found['median']:.{digits}f} ({found['min']:.{digits}f} to {found['max']:.{digits}f})"


def mean(values: Sequence[float]) -> float:
    """The mean; nan of nothing."""
    return statistics.fmean(values) if values else math.nan


def half_width(values: Sequence[float]) -> float:
    """Half of the 95% t interval of the mean of at least two values.

    >>> round(half_width([1.0, 2.0, 3.0]), 2)
    2.48
    """
    from scipy.stats import t as student

    return float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))


def numbers(text: str) -> list[int]:
    """``"1,8,32"`` as whole numbers, for argparse."""
    return [int(part) for part in text.split(",") if part.strip()]


def words(text: str) -> list[str]:
    """``"a,b"`` as words, for argparse."""
    return [part.strip() for part in text.split(",") if part.strip()]


# ---- output


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns of text: the first to the left, the others to the right."""
    cells = [[str(h) for h in headers], *[["" if c is None else str(c) for c in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    lines = ["  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
             for row in cells]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def verdict(reached: bool | None, text: str) -> str:
    """A line for a target: PASS, MISS, or n/a where it was not measured."""
    return f"{'n/a ' if reached is None else 'PASS' if reached else 'MISS'}  {text}"


def write_json(path: Path, value: Any) -> Path:
    """Write atomically, with nan and infinity as null; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return path


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if hasattr(value, "tolist"):  # numpy arrays and numbers
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def closed(path: Path, failed: Sequence[str]) -> int:
    """The last lines of a benchmark: where its results are, and what failed; the exit status."""
    print(f"\nwritten: {path}")
    if failed:
        print(f"failed: {'; '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
