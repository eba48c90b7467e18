"""The page of the doctor: how it is called, and every check with what it needs, why it matters and where that is shown."""

from __future__ import annotations

from wellfit.doctor.registry import Check, registered

HEAD = """\
# The doctor

`wellfit check` and `wf.check` look for regularization mistakes in a training set-up of your own: the model, its optimizer, its
loaders and its training functions, as live objects. Most checks measure: they scale a weight and see whether the output changes,
pass the same rows twice, compare variances in training and evaluation, step copies of the optimizer. Everything happens on copies;
weights, statistics, modes, the optimizer's state, loaders and random states of yours are as before. What is not given is not
examined, and the report says so.

```python
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import wellfit as wf

x, y = torch.randn(257, 6), torch.randint(0, 2, (257,))
model = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.5), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), weight_decay=0.01)
report = wf.check(model, optimizer, DataLoader(TensorDataset(x, y), 32), criterion=nn.CrossEntropyLoss())
print(report)            # every finding: what was measured, why it matters, the fix as code
assert [f.id for f in report.errors] == ["last-batch-of-one"]
assert not report.ok     # neither errors nor warnings
```

A script has a function that returns the parts, and is checked by name:

<!-- not run: needs a script -->
```sh
wellfit check train.py:build                      # status 1 if there is an error
wellfit check train.py:build --fail-on warning --sarif doctor.sarif
wellfit check train.py:build --fix groups.py      # the corrected parameter groups, as code
wellfit check --list
```

<!-- not run: a sketch -->
```python
def build():
    ...
    return {"model": model, "optimizer": optimizer, "criterion": criterion, "train_loader": train_loader,
            "val_loader": val_loader, "epochs": 90, "train_step": train_step, "fit": fit,
            "declared": {"l1": 1e-4, "patience": 5, "monitor": "val_loss"}}
```

Only the model is needed. `declared` says what regularization is meant to be there, so that it can be compared with what is.
`# wellfit: ignore[check-id]` on any line of the script leaves a check out, and so do `--suppress` and `suppress=`.

An error is certainly wrong: the result is wrong or not what was asked for. A warning probably costs quality. A note is worth
knowing. Evidence is `static` (read off the objects), `probe` (measured by running copies) or `data` (measured on batches).
"""


def page(notice: str) -> str:
    checks = list(registered().values())
    rows = ["| check | severity | evidence | needs |", "| --- | --- | --- | --- |"]
    rows += [f"| [{c.id}](#{c.id}) | {c.severity} | {c.evidence} | {_needs(c)} |" for c in checks]
    parts = [HEAD, f"## All {len(checks)} checks", "\n".join(rows)]
    parts += [f"### {c.id}\n\n{c.why}\n\n*Shown by:* {c.source}." for c in checks]
    return notice + "\n\n".join(p.strip("\n") for p in parts) + "\n"


def _needs(check: Check) -> str:
    """What a check cannot do without, in words."""
    return "model" + "".join(", " + need.replace("|", " or ") for need in check.needs)
