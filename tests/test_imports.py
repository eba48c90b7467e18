"""The rules that every file of the package keeps: which layer imports which, and what no file does.

Each rule reads the source (it never imports it) and reports what it finds as ``file:line: what``.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "wellfit"

# ------------------------------------------------------------------------------------------------ the two tables

BELOW_DRIVERS = {"regularizers", "core", "kernels"}
BELOW_CLI = BELOW_DRIVERS | {"population", "drivers", "data", "slim", "doctor", "search", "diagnosis", "report"}

#: Which layers the files of a layer may import, besides their own. "(top)" is wellfit itself and wellfit/*.py.
MAY_IMPORT: dict[str, set[str]] = {
    "kernels": set(),
    "core": {"kernels"},
    "regularizers": {"core", "kernels"},
    "drivers": BELOW_DRIVERS,
    "population": BELOW_DRIVERS,
    "data": {"core.errors"},
    "slim": BELOW_DRIVERS | {"population", "drivers", "data"},
    "doctor": BELOW_DRIVERS | {"drivers", "data"},
    "search": BELOW_CLI - {"search", "diagnosis"},
    "diagnosis": BELOW_CLI - {"diagnosis"},
    "report": {"core"},  # it reads the files of a run and nothing else
    "cli": BELOW_CLI | {"(top)"},
    "testing": BELOW_DRIVERS,
    "(top)": BELOW_CLI | {"cli", "testing"},
}

#: A regularizer knows nothing of any framework's loop, nor of tables, searches and terminals.
NOT_BELOW_DRIVERS = {
    "lightning", "pytorch_lightning", "transformers", "accelerate", "keras", "sklearn", "optuna", "pandas", "rich",
    "typer", "click", "matplotlib",
}

#: What ``import wellfit`` must leave for later: each costs a tenth of a second to two.
NOT_EAGER = ["optuna", "pandas", "sklearn", "rich", "typer", "scipy.stats", "pyarrow", "matplotlib", "skglm", "cvxpy",
             "lightning", "transformers", "keras"]


# --------------------------------------------------------------------------------------------- reading the source


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> tuple[str, bool]:
    """The dotted name of a file of the package, and whether it is a package's __init__."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return (".".join(parts[:-1]), True) if parts[-1] == "__init__" else (".".join(parts), False)


def layer_of(module: str) -> str:
    """The layer a dotted name belongs to.

    >>> layer_of("wellfit.core.plan"), layer_of("wellfit.tune"), layer_of("wellfit")
    ('core', '(top)', '(top)')
    """
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else "(top)"


def imported(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Every import of a file, at any depth, as (line, absolute dotted name of what is imported).

    ``from a import b`` yields ``a.b``: whether b is a module or a name inside a, its layer is the same.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base]) if base else ".".join(parts)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and dotted(node.func, {}) in {"importlib.import_module", "import_module"}:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def aliases(tree: ast.AST) -> dict[str, str]:
    """What the names that a file imports stand for: ``import numpy as np`` gives np → numpy."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    """The dotted name of an expression such as ``np.random.seed``, import aliases resolved; "" for any other."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        base = dotted(node.value, names)
        return f"{base}.{node.attr}" if base else ""
    return ""


# ------------------------------------------------------------------------------------------------------ the rules


def wrong_way(tree: ast.AST, module: str, is_package: bool, text: str) -> Iterator[tuple[int, str]]:
    """Imports that go up, or sideways between layers that do not know each other."""
    own = layer_of(module)
    for line, name in imported(tree, module, is_package):
        if name.split(".")[0] != "wellfit":
            continue
        layer = layer_of(name)
        allowed = MAY_IMPORT[own]
        inside = any(name == f"wellfit.{part}" or name.startswith(f"wellfit.{part}.") for part in allowed)
        if layer == own or inside or (layer == "(top)" and "(top)" in allowed):
            continue
        may = ", ".join(sorted(allowed)) or "nothing of wellfit"
        yield line, f"{own} imports {name} ({layer}); {own} may import: {may}"


def framework_below_drivers(tree: ast.AST, module: str, is_package: bool, text: str) -> Iterator[tuple[int, str]]:
    """kernels, core and regularizers that import a framework or an application library."""
    if layer_of(module) in BELOW_DRIVERS:
        for line, name in imported(tree, module, is_package):
            if name.split(".")[0] in NOT_BELOW_DRIVERS:
                yield line, f"{layer_of(module)} imports {name}: only drivers and what is above them may"


def tensor_data(tree: ast.AST, module: str, is_package: bool, text: str) -> Iterator[tuple[int, str]]:
    """``.data``, which goes behind autograd's back. Module paths and lines marked ``# not a tensor`` are left alone."""
    names, lines = aliases(tree), text.splitlines()
    modules = {"torch.utils.data", "wellfit.data", "importlib.resources.data"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "data" and dotted(node, names) not in modules:
            marked = "# not a tensor" in lines[(node.end_lineno or node.lineno) - 1]
            through_ctypes = isinstance(node.value, ast.Attribute) and node.value.attr == "ctypes"
            if not marked and not through_ctypes:
                yield node.lineno, ".data bypasses autograd: use detach(), or no_grad() and an in-place operation " \
                                   "(an attribute of something else: end the line with '# not a tensor')"


PICKLES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "shelve", "marshal", "jsonpickle"}
PICKLING_CALLS = {"joblib.load", "joblib.dump", "pandas.read_pickle", "torch.serialization.load"}


def code_on_load(tree: ast.AST, module: str, is_package: bool, text: str) -> Iterator[tuple[int, str]]:
    """Anything that may run code found in a file: pickles, eval, exec, unsafe YAML."""
    names = aliases(tree)
    for line, name in imported(tree, module, is_package):
        if name.split(".")[0] in PICKLES:
            yield line, f"imports {name}: no pickle, in or out (safetensors, JSON, YAML, npz)"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func, names)
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}

        def is_true(key: str, keywords: dict[str | None, ast.expr] = keywords) -> bool:
            value = keywords.get(key)
            return isinstance(value, ast.Constant) and value.value is True

        if name in {"eval", "exec", "builtins.eval", "builtins.exec"}:
            yield node.lineno, f"{name.rpartition('.')[2]}(…): what a file says is never evaluated; use the registry"
        elif name == "torch.load" and not is_true("weights_only"):
            yield node.lineno, "torch.load without weights_only=True"
        elif name in PICKLING_CALLS or name.endswith((".to_pickle", ".read_pickle")):
            yield node.lineno, f"{name}: no pickle"
        elif name in {"numpy.load", "numpy.save"} and "allow_pickle" in keywords:
            value = keywords["allow_pickle"]
            if not (isinstance(value, ast.Constant) and value.value is False):
                yield node.lineno, f"{name} with allow_pickle"
        elif name in {"yaml.unsafe_load", "yaml.full_load", "yaml.unsafe_load_all", "yaml.full_load_all"}:
            yield node.lineno, f"{name}: use yaml.safe_load"
        elif name in {"yaml.load", "yaml.load_all"}:
            loader = keywords.get("Loader", node.args[1] if len(node.args) > 1 else None)
            if loader is None or dotted(loader, names) in {"yaml.Loader", "yaml.UnsafeLoader", "yaml.FullLoader"}:
                yield node.lineno, f"{name} without a safe loader: use yaml.safe_load"


GLOBAL_SEEDS = {
    "torch.manual_seed", "torch.seed", "torch.random.manual_seed", "torch.random.seed", "torch.set_rng_state",
    "torch.random.set_rng_state", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all", "numpy.random.seed",
    "numpy.random.set_state", "random.seed", "random.setstate",
}


def global_seed(tree: ast.AST, module: str, is_package: bool, text: str) -> Iterator[tuple[int, str]]:
    """Seeding of a global generator, which changes the caller's program. Inside torch.random.fork_rng it does not, nor does what
    the line itself says is put back."""
    names, lines = aliases(tree), text.splitlines()

    def visit(node: ast.AST, forked: bool) -> Iterator[tuple[int, str]]:
        if isinstance(node, ast.With):
            calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
            forked = forked or any(dotted(call.func, names) == "torch.random.fork_rng" for call in calls)
        if isinstance(node, ast.Call):
            name = dotted(node.func, names)
            put_back = "# put back below" in lines[node.lineno - 1] or "# puts back" in lines[node.lineno - 1]
            if name in GLOBAL_SEEDS and not put_back and not (forked and name.startswith("torch.")):
                yield node.lineno, f"{name} changes the caller's random stream: pass a generator, or fork_rng around it"
        for child in ast.iter_child_nodes(node):
            yield from visit(child, forked)

    yield from visit(tree, False)


DRAWING = {"rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "bernoulli", "normal",
           "multinomial", "poisson"}
DRAWING_IN_PLACE = {"uniform_", "normal_", "bernoulli_", "exponential_", "random_", "geometric_", "cauchy_",
                    "log_normal_"}


def impure_kernel(tree: ast.AST, module: str, is_package: bool, text: str) -> Iterator[tuple[int, str]]:
    """Kernels that draw, read a value back to Python or keep state."""
    if layer_of(module) != "kernels":
        return
    names = aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Global | ast.Nonlocal):
            yield node.lineno, "a kernel keeps no state"
        elif isinstance(node, ast.Call):
            name = dotted(node.func, names)
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if name.startswith(("torch.nn.functional.dropout", "numpy.random.", "random.")) or (
                name.startswith("torch.") and name.removeprefix("torch.") in DRAWING
            ) or method in DRAWING_IN_PLACE:
                yield node.lineno, f"{name or method}: draws are passed to a kernel"
            elif method in {"item", "tolist"}:
                yield node.lineno, f".{method}() in a kernel: it waits for the device and cannot be stacked"


Rule = Callable[[ast.AST, str, bool, str], Iterator[tuple[int, str]]]
RULES: list[Rule] = [wrong_way, framework_below_drivers, tensor_data, code_on_load, global_seed, impure_kernel]


def violations(rule: Rule, paths: list[Path]) -> list[str]:
    found = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        module, is_package = module_of(path)
        try:
            tree = ast.parse(text, str(path))
        except SyntaxError:
            continue  # test_every_file_parses says so, once
        for line, what in rule(tree, module, is_package, text):
            found.append(f"{path.relative_to(ROOT).as_posix()}:{line}: {what}")
    return found


def test_every_file_parses() -> None:
    broken = []
    for path in sources():
        try:
            ast.parse(path.read_text(encoding="utf-8"), str(path))
        except SyntaxError as error:
            broken.append(f"{path.relative_to(ROOT).as_posix()}:{error.lineno}: {error.msg}")
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    found = violations(rule, sources())
    assert not found, f"{(rule.__doc__ or '').splitlines()[0]}\n" + "\n".join(found)


def test_every_package_has_a_layer() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages <= set(MAY_IMPORT), "a package without a row in MAY_IMPORT"


def test_nothing_imports_testing_but_tests() -> None:
    assert all("testing" not in allowed for layer, allowed in MAY_IMPORT.items() if layer != "(top)")


# ------------------------------------------------------------------------- the rules themselves, on planted sources

PLANTED: list[tuple[Rule, str, str, bool]] = [
    # rule, module, source, whether it is a violation
    (wrong_way, "wellfit.kernels.prox", "import torch", False),
    (wrong_way, "wellfit.kernels.prox", "from .project import project_l2_ball", False),
    (wrong_way, "wellfit.kernels.prox", "from ..core import errors", True),
    (wrong_way, "wellfit.kernels.prox", "import wellfit.core.errors", True),
    (wrong_way, "wellfit.core.plan", "from ..kernels.prox import soft_threshold", False),
    (wrong_way, "wellfit.core.plan", "def f():\n    from wellfit.regularizers import weights", True),
    (wrong_way, "wellfit.core.plan", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import wellfit.drivers",
     True),
    (wrong_way, "wellfit.core.plan", "import wellfit as wf", True),
    (wrong_way, "wellfit.core.plan", "from wellfit import __version__", True),
    (wrong_way, "wellfit.core.plan", "from .. import regularizers", True),
    (wrong_way, "wellfit.core.plan", "import importlib\nimportlib.import_module('wellfit.search.space')", True),
    (wrong_way, "wellfit.regularizers.weights.l1", "from ...core.phases import Loss", False),
    (wrong_way, "wellfit.regularizers.weights.l1", "from ...population import stack", True),
    (wrong_way, "wellfit.population.train", "from ..drivers import loop", True),
    (wrong_way, "wellfit.drivers.loop", "from ..population import train", True),
    (wrong_way, "wellfit.data.read", "from ..core.errors import WellfitError", False),
    (wrong_way, "wellfit.data.read", "from ..core import errors", False),
    (wrong_way, "wellfit.data.read", "from ..core import hyper", True),
    (wrong_way, "wellfit.search.space", "from ..doctor import finding\nfrom ..data import read", False),
    (wrong_way, "wellfit.search.result", "from ..report import html", False),
    (wrong_way, "wellfit.report.html", "from ..search import rundir", True),
    (wrong_way, "wellfit.slim.cut", "from ..diagnosis import verdict", True),
    (wrong_way, "wellfit.cli.tune", "from ..report import html\nfrom .. import tune", False),
    (wrong_way, "wellfit.report.html", "from ..cli import main", True),
    (wrong_way, "wellfit.report.html", "from ..testing import contract", True),
    (wrong_way, "wellfit.testing.contract", "from ..regularizers import weights", False),
    (wrong_way, "wellfit.testing.contract", "from ..population import train", True),
    (wrong_way, "wellfit.tune", "from .search import space\nfrom .report import html", False),
    (framework_below_drivers, "wellfit.regularizers.weights.l1", "def f():\n    import lightning", True),
    (framework_below_drivers, "wellfit.drivers.lightning", "import lightning", False),
    (tensor_data, "wellfit.core.plan", "w.data.mul_(2)", True),
    (tensor_data, "wellfit.core.plan", "import torch\ntorch.utils.data.DataLoader", False),
    (tensor_data, "wellfit.core.plan", "table.data  # not a tensor", False),
    (code_on_load, "wellfit.data.read", "import pickle", True),
    (code_on_load, "wellfit.data.read", "def f():\n    from cloudpickle import loads", True),
    (code_on_load, "wellfit.data.read", "eval('1')", True),
    (code_on_load, "wellfit.data.read", "model.eval()", False),
    (code_on_load, "wellfit.data.read", "import torch\ntorch.load(p)", True),
    (code_on_load, "wellfit.data.read", "from torch import load as get\nget(p, weights_only=False)", True),
    (code_on_load, "wellfit.data.read", "import torch\ntorch.load(p, weights_only=True)", False),
    (code_on_load, "wellfit.data.read", "import numpy as np\nnp.load(p, allow_pickle=True)", True),
    (code_on_load, "wellfit.data.read", "import numpy as np\nnp.load(p, allow_pickle=False)", False),
    (code_on_load, "wellfit.data.read", "frame.to_pickle(p)", True),
    (code_on_load, "wellfit.data.read", "import yaml\nyaml.load(t, Loader=yaml.FullLoader)", True),
    (code_on_load, "wellfit.data.read", "import yaml\nyaml.load(t, Loader=Strict)", False),
    (global_seed, "wellfit.core.draws", "import torch\ntorch.manual_seed(0)", True),
    (global_seed, "wellfit.core.draws", "import torch as t\nt.Generator().manual_seed(0)", False),
    (global_seed, "wellfit.core.draws", "import numpy as np\nnp.random.seed(0)", True),
    (global_seed, "wellfit.core.draws", "import torch\nwith torch.random.fork_rng():\n    torch.manual_seed(0)", False),
    (global_seed, "wellfit.core.draws", "import random\nrandom.seed(0)", True),
    (global_seed, "wellfit.core.draws", "import random\nrandom.setstate(before)  # puts back", False),
    (impure_kernel, "wellfit.kernels.noise", "import torch\ntorch.randn(3)", True),
    (impure_kernel, "wellfit.kernels.noise", "w.normal_()", True),
    (impure_kernel, "wellfit.kernels.noise", "w.sum().item()", True),
    (impure_kernel, "wellfit.core.draws", "import torch\ntorch.randn(3)", False),
]


@pytest.mark.parametrize(("rule", "module", "source", "wrong"), PLANTED)
def test_rule_tells_right_from_wrong(rule: Rule, module: str, source: str, wrong: bool) -> None:
    found = list(rule(ast.parse(source), module, False, source))
    assert bool(found) == wrong, found
    if wrong:
        assert [line for line, _ in found] == [len(source.splitlines())]  # it points at the offending line


def test_relative_imports_of_a_package_count_from_the_package() -> None:
    tree = ast.parse("from .plan import Plan\nfrom ..kernels import prox\nfrom . import hyper")
    assert [name for _, name in imported(tree, "wellfit.core", True)] == [
        "wellfit.core.plan.Plan", "wellfit.kernels.prox", "wellfit.core.hyper"]


# ------------------------------------------------------------------------------------------------ importing wellfit


def in_a_new_process(program: str) -> str:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_is_light() -> None:
    eager = in_a_new_process(f"import sys, wellfit; wellfit.Plan; print(*[m for m in {NOT_EAGER!r} if m in sys.modules])")
    assert not eager, f"wellfit's own names also import {eager}: import each where it is used"


@pytest.mark.parametrize("module", ["wellfit", "wellfit.cli", "wellfit.report", "wellfit.diagnosis.history"])
def test_what_reads_files_does_without_torch(module: str) -> None:
    """Importing PyTorch takes longer than a verdict on a training history, or a report, may take."""
    assert in_a_new_process(f"import sys, {module}; print('torch' in sys.modules)") == "False"


def test_names_are_there_whatever_is_asked_for_first() -> None:
    recipe = {"format": 1, "regularizers": [{"name": "l1", "strength": 0.1}]}
    for program in (f"from wellfit.core.recipe import Recipe; print(Recipe.from_mapping({recipe!r}))",
                    "from wellfit import *; Recipe(L1(0.1)); print('whole')", "import wellfit; print(wellfit.regularizers.L1)",
                    "import wellfit; print('L1' in dir(wellfit), wellfit.__version__)"):
        assert in_a_new_process(program)
    assert in_a_new_process("import wellfit\ntry: wellfit.nothing\nexcept AttributeError as e: print(e)").endswith("'nothing'")


def test_public_names_exist() -> None:
    missing = in_a_new_process("import wellfit; print(*[n for n in getattr(wellfit, '__all__', []) "
                               "if not hasattr(wellfit, n)])")
    assert not missing, f"names in wellfit.__all__ that are not there: {missing}"
