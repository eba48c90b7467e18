"""wellfit check, from a script to its exit status."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

GOOD = '''
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

def build():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(240, 6, generator=generator), torch.randint(0, 2, (240,), generator=generator)
    model = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 2))
    weights = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": weights, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}])
    return {"model": model, "optimizer": optimizer, "criterion": nn.CrossEntropyLoss(), "epochs": 50,
            "train_loader": DataLoader(TensorDataset(x[:192], y[:192]), 32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[192:], y[192:]), 32)}
'''
WARNED = GOOD.replace("nn.Linear(16, 2))", "nn.Linear(16, 2))\n    model[0].extra = nn.Parameter(torch.randn(3, 3))").replace(
    "weights = [p for p in model.parameters() if p.ndim > 1]", "weights = [model[0].weight, model[3].weight]")
WRONG = GOOD.replace("nn.Linear(16, 2))", "nn.Linear(16, 2), nn.Softmax(1))").replace("optim.AdamW(", "optim.Adam(")


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write a script into the current folder; what is checked there."""
    monkeypatch.chdir(tmp_path)
    count = iter(range(100))

    def write(text: str) -> str:
        path = tmp_path / f"train_{next(count)}.py"
        path.write_text(text, encoding="utf-8")
        return f"{path.name}:build"
    return write


def test_a_correct_script(wellfit: Callable, script: Callable) -> None:
    done = wellfit("check", script(GOOD), "--fail-on", "warning")
    assert (done.status, done.err) == (0, "")
    assert "1 note (" in done.out and "penalty-on-scale-invariant-weights" in done.out
    assert "not examined" in done.out and "averaged" in done.out


def test_a_wrong_script(wellfit: Callable, script: Callable) -> None:
    done = wellfit("check", script(WRONG))
    assert done.status == 1
    assert "softmax-before-cross-entropy" in done.out and "coupled-decay-under-adam" in done.out
    assert "Traceback" not in done.err


@pytest.mark.parametrize(("level", "status"), [("error", 0), ("warning", 1), ("never", 0)])
def test_the_level_that_fails(wellfit: Callable, script: Callable, level: str, status: int) -> None:
    assert wellfit("check", script(WARNED), "--fail-on", level).status == status


def test_never_fails(wellfit: Callable, script: Callable) -> None:
    assert wellfit("check", script(WRONG), "--fail-on", "never").status == 0


def test_json_and_nothing_else(wellfit: Callable, script: Callable) -> None:
    done = wellfit("check", script(WRONG), "--json")
    read = json.loads(done.out)
    assert set(read) == {"ok", "findings", "ran", "skipped", "suppressed"}
    assert not read["ok"]
    assert {f["id"] for f in read["findings"]} >= {"softmax-before-cross-entropy"}
    assert all(set(f) == {"id", "severity", "evidence", "where", "measured", "why", "source", "fix"} for f in read["findings"])


def test_suppressed_by_option_and_by_comment(wellfit: Callable, script: Callable) -> None:
    ids = "softmax-before-cross-entropy,coupled-decay-under-adam"
    for done in (wellfit("check", script(WRONG), "--suppress", ids, "--json"),
                 wellfit("check", script(WRONG + f"\n# wellfit: ignore[{ids.replace(',', ', ')}]\n"), "--json")):
        read = json.loads(done.out)
        assert done.status == 0
        assert read["suppressed"] == sorted(ids.split(","))
        assert not {f["id"] for f in read["findings"]} & set(ids.split(","))


def test_only_some(wellfit: Callable, script: Callable) -> None:
    read = json.loads(wellfit("check", script(WRONG), "--only", "last-batch-of-one,duplicate-rows", "--json").out)
    assert read["ran"] == ["duplicate-rows", "last-batch-of-one"]


def test_list(wellfit: Callable) -> None:
    done = wellfit("check", "--list")
    assert done.status == 0
    assert "dropout-active-in-eval" in done.out and "overlapping-splits" in done.out
    rows = json.loads(wellfit("check", "--list", "--json").out)
    assert len(rows) >= 24
    assert all(row["why"] and row["source"] and row["severity"] in ("error", "warning", "note") for row in rows)


@pytest.mark.parametrize(("arguments", "said"), [
    ([], "nothing to check"), (["nowhere.py:build"], "no such script"), (["no_such_module_here:build"], "no such module"),
    (["train"], "names no object"), (["."], "folder cannot be checked")])
def test_what_cannot_be_checked(wellfit: Callable, script: Callable, arguments: list[str], said: str) -> None:
    done = wellfit("check", *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in done.err


@pytest.mark.parametrize(("text", "said"), [
    ("def build():\n    return {}\n", "needs a model"), ("def build():\n    return 3\n", "no set-up"),
    ("def build():\n    raise RuntimeError('no disk')\n", "no disk"), ("raise OSError('gone')\n", "gone"),
    ("def built():\n    return {}\n", "did you mean"),
    ("import torch\ndef build():\n    return {'model': torch.nn.Linear(2, 2), 'optimiser': 1}\n", "did you mean optimizer")])
def test_scripts_with_mistakes_of_their_own(wellfit: Callable, script: Callable, text: str, said: str) -> None:
    done = wellfit("check", script(text))
    assert done.status == 2
    assert said in done.err and "Traceback" not in done.err


def test_an_unknown_id_is_a_mistake(wellfit: Callable, script: Callable) -> None:
    done = wellfit("check", script(GOOD), "--suppress", "duplicate-row")
    assert done.status == 2
    assert "did you mean duplicate-rows" in done.err


def test_a_module_in_the_current_folder(wellfit: Callable, script: Callable, tmp_path: Path) -> None:
    (tmp_path / "some_training_module.py").write_text(GOOD, encoding="utf-8")
    assert wellfit("check", "some_training_module:build").status == 0


def test_sarif(wellfit: Callable, script: Callable, tmp_path: Path) -> None:
    name = script(WRONG)
    assert wellfit("check", name, "--sarif", tmp_path / "doctor.sarif").status == 1
    log = json.loads((tmp_path / "doctor.sarif").read_text(encoding="utf-8"))
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-schema-2.1.0.json")
    run = log["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert run["tool"]["driver"]["name"] == "wellfit"
    assert len({r["id"] for r in rules}) == len(rules) >= 24
    assert all(r["help"]["text"] and r["shortDescription"]["text"] and r["defaultConfiguration"]["level"] in
               ("error", "warning", "note") for r in rules)
    assert run["results"]
    line = 1 + next(n for n, text in enumerate(WRONG.splitlines()) if text.startswith("def build"))
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note") and result["message"]["text"]
        physical = result["locations"][0]["physicalLocation"]
        assert physical["artifactLocation"]["uri"] == name.partition(":")[0]
        assert physical["region"]["startLine"] == line


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_fix_writes_groups_that_work(wellfit: Callable, script: Callable, tmp_path: Path) -> None:
    import wellfit as wf

    given = 'torch.optim.Adam([{"params": weights, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}])'
    text = WRONG.replace(given, "torch.optim.Adam(model.parameters(), lr=3e-3, betas=(0.8, 0.9), weight_decay=0.02)")
    assert "betas" in text
    name = script(text)
    done = wellfit("check", name, "--fix", tmp_path / "groups.py")
    assert "groups.py" in done.err
    made = _load(tmp_path / "groups.py")
    model = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 2), nn.Softmax(1))
    groups = made.parameter_groups(model)
    assert [g["weight_decay"] for g in groups] == [0.02, 0.0]
    assert [len(g["params"]) for g in groups] == [2, 4]
    assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in model.parameters()}
    optimizer = made.make_optimizer(model)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.9) and optimizer.param_groups[0]["lr"] == 3e-3
    ids = {f.id for f in wf.check(model, optimizer)}
    assert not ids & {"decay-on-norms-and-biases", "coupled-decay-under-adam", "parameter-not-optimized"}
    with pytest.raises(ValueError, match="changed"):
        made.parameter_groups(nn.Sequential(nn.Linear(6, 2)))


def test_fix_needs_an_optimizer_and_a_place(wellfit: Callable, script: Callable, tmp_path: Path) -> None:
    alone = "import torch\ndef build():\n    return torch.nn.Linear(2, 2)\n"
    assert wellfit("check", script(alone), "--fix", tmp_path / "groups.py").status == 2
    assert wellfit("check", script(GOOD), "--fix", tmp_path / "nowhere" / "groups.py").status == 2


def test_checking_loads_nothing_heavy() -> None:
    import os
    import subprocess
    import sys

    program = ("import sys, torch, wellfit as wf; m = torch.nn.Linear(3, 2); wf.check(m, torch.optim.SGD(m.parameters(), 0.1)); "
               "print(*[n for n in ('pandas', 'sklearn', 'scipy.stats', 'optuna', 'rich', 'lightning') if n in sys.modules])")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == ""
