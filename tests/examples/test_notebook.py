"""The notebook: its script runs, and the notebook in the repository is made from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOK = FOLDER / "regularization.ipynb"


@pytest.fixture
def build_notebook(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import build_notebook

    yield build_notebook
    sys.modules.pop("build_notebook", None)


def test_cells_of_a_script(build_notebook) -> None:
    text = '# %% [markdown]\n# # Title\n#\n# words # more\n\n# %%\nx = 1  # one\n\n\ndef f():\n    return x\n\n# %%\nf()\n'
    assert build_notebook.cells_of(text) == [
        ("markdown", "# Title\n\nwords # more"), ("code", "x = 1  # one\n\n\ndef f():\n    return x"), ("code", "f()")]
    with pytest.raises(ValueError, match="first line"):
        build_notebook.cells_of("import os\n# %%\n")


def test_the_notebook_has_the_cells_of_the_script(build_notebook) -> None:
    script = build_notebook.cells_of((FOLDER / "regularization.py").read_text(encoding="utf-8"))
    assert build_notebook.sources(NOTEBOOK) == script


def test_the_notebook_was_run_and_names_no_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    cells = [c for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1))
    outputs = [o for c in cells for o in c["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 14
    words = [o["text"] if isinstance(o["text"], str) else "".join(o["text"]) for o in outputs if "text" in o]
    assert not [w for w in words if "/tmp" in w or "/home" in w or "/work" in w]
    assert len(text) < 3_000_000


@pytest.mark.slow
def test_the_script_runs(tmp_path: Path) -> None:
    """All of it but the search, which has tests of its own: that takes a smaller budget here, of work and not of time, since
    on a busy machine a few seconds are too few to judge every method."""
    pytest.importorskip("matplotlib")
    text = (FOLDER / "regularization.py").read_text(encoding="utf-8")
    assert text.count('budget="30s"') == 1
    script = tmp_path / "script.py"
    script.write_text(text.replace('budget="30s"', 'budget="40c"'), encoding="utf-8")
    paths = [str(FOLDER.parent / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", str(script)], cwd=tmp_path, env=environment, text=True,
                          encoding="utf-8", capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    printed = done.stdout
    assert float(printed.split("training and formula: ")[1].split()[0]) < 1e-8
    assert "wf.L1 6, penalty in the loss 0, L2 0" in printed
    assert "largest norm with the limit 1.5: 1.50000" in printed
    assert "gain:" in printed and "regularizers:" in printed
    assert list(tmp_path.iterdir()) == [script]  # it leaves nothing behind
