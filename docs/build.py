#!/usr/bin/env python3
"""Write the generated pages of this folder.

  python docs/build.py            methods/<id>.md and methods/README.md from the declarations and docstrings, choosing.md from
                                  choosing.yaml, doctor.md from the doctor's checks; measured effects from effects.jsonl where it is
                                  there
  python docs/build.py --check    write nothing, and fail when a page is out of date

``effects.jsonl`` is what ``benchmarks/effects.py --out docs/effects.jsonl`` writes.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "benchmarks"), str(DOCS)]

import doctor_page
import effects as measured

import wellfit as wf
from wellfit.core.describe import LABELS, describe, example, paragraphs
from wellfit.core.registry import lookup, registered
from wellfit.core.regularizer import Regularizer
from wellfit.search.menus import TABLE

NOTICE = "<!-- Written by docs/build.py. Change the definition or its docstring, then run it again. -->\n"
GROUPS = {
    "weights": "Weights", "network": "The network", "inputs": "Inputs of any kind", "images": "Images", "audio": "Sounds",
    "targets": "Targets and outputs", "training": "Training",
}
PHASES = {
    "parametrize": "makes selected weights from factors, when the recipe is compiled; `plan.finish` folds them into plain weights",
    "memory": "keeps numbers of its own for each selected weight, which are saved with the plan",
    "site": "acts on what enters chosen kinds of layers, in training only",
    "weight": "lets layers compute with changed weights; gradients go to the weights as they are",
    "drive": "sets the rates of layers that the network has of its own, while the recipe runs",
    "finish": "changes the final weights or statistics, in `plan.finish`",
    "hidden": "acts on hidden activations on their way into the next layer, in training only",
    "branch": "acts on residual branches before they join the skip, in training only",
    "rewrite": "changes the network once, when the recipe is compiled, before the optimizer is made",
    "warp": "moves the pixels of each training image (neighbouring parts of this kind sample once, together)",
    "batch": "changes each training batch in `plan.batch(x, y)`; validation and test data never",
    "outputs": "changes outputs or targets before the criterion sees them, in `plan.objective`",
    "term": "adds a term of the outputs to what is differentiated, in `plan.objective`; the loss that is reported stays clean",
    "activity": "adds a term of hidden activations to what is differentiated; the loss that is reported stays clean",
    "passes": "needs more than one forward pass for a batch, so the loop calls `plan.backward`",
    "ascent": "takes the gradient at moved weights and puts them back, so the loop calls `plan.backward`",
    "penalty": "is a term of the objective, shown by `plan.contributions()`",
    "gradient": "changes the gradients just before the optimizer's step",
    "noise": "adds drawn noise to the gradients just before the optimizer's step",
    "step": "acts on the weights at each `optimizer.step()` that really steps",
    "slow": "keeps slow weights and lets them meet the fast ones every few steps",
    "average": "keeps averaged weights, which are the ones evaluated and returned",
    "monitor": "looks at the validation numbers of each epoch, in `plan.observe`",
    "snapshot": "keeps the weights at the end of some epochs, in `plan.observe`",
}
TAKES = {
    "rows": "rows of a table `(B, D)`", "images": "images `(B, C, H, W)`", "waveforms": "waveforms `(B, T)` or `(B, 1, T)`",
    "spectrograms": "spectrograms `(B, F, T)` or `(B, 1, F, T)`", "tokens": "whole numbers `(B, T)`",
}


# ---- words


def number(value: Any) -> str:
    """A value as it is written in a table.

    >>> number(1e-4), number(None), number("weights"), number(float("inf"))
    ('0.0001', 'none', '"weights"', 'infinity')
    """
    if value is None:
        return "none"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f'"{value}"' if isinstance(value, str) else str(value)
    return "infinity" if value == float("inf") else f"{value:g}"


def cells(values: list[Any]) -> str:
    return "| " + " | ".join(str(v).replace("|", "\\|") for v in values) + " |"


def plain(text: str) -> str:
    """Text of a docstring with what Markdown would take for its own marks kept."""
    return text.replace("*", "\\*").replace("<", "&lt;").replace("_", "\\_")


def sentence(text: str) -> str:
    """With a capital letter and a full stop; what begins with a symbol keeps it.

    >>> sentence("adds strength"), sentence("w ≥ 0, always"), sentence("low ≤ w")
    ('Adds strength.', 'w ≥ 0, always.', 'low ≤ w.')
    """
    first, second = [*text.split(), "", ""][:2]
    word = len(first) > 1 and first.strip(",:").isalpha() and (not second or second[0].isalnum() or second[0] in "(`'\"")
    return (text[:1].upper() + text[1:] if word or first == "a" else text).rstrip(".") + "." if text else ""


def group_of(cls: type[Regularizer]) -> str:
    return cls.__module__.split(".")[2]


def usual(cls: type[Regularizer]) -> Regularizer:
    """At the strength at which a search on a table tries it first, else at its default, else in the middle of its range."""
    given: Any = {n: int(v) if v > 1 and v == int(v) else v for n, v in TABLE.singles.get(cls.identifier(), {}).items()}
    return example(cls, **given)


# ---- what was measured


@cache
def lines() -> tuple[measured.Line, ...]:
    return tuple(measured.read(DOCS / "effects.jsonl"))


@cache
def found() -> dict[tuple[str, str], measured.Line]:
    return measured.summarised(lines())


def commands() -> list[str]:
    """Those that wrote the results, without what only sets their pace."""
    return list(dict.fromkeys(line["command"] for line in lines() if "command" in line))


def title_of(column: str) -> str:
    return measured.COLUMNS[column].title if column in measured.COLUMNS else column


def effect_words(entry: measured.Line) -> str:
    seeds = "1 seed" if entry["seeds"] == 1 else f"{entry['seeds']} seeds"
    mean, half = entry["effect"], entry["half"]
    ends = "no interval" if half is None else f"{mean - half:+.2f} to {mean + half:+.2f}"
    return cells([f"{mean:+.2f}", ends, seeds])


def measured_effect(name: str) -> list[str]:
    mine = [(c, found()[name, c]) for c in measured.columns_of(found()) if (name, c) in found()]
    tried = [(c, e) for c, e in mine if "effect" in e]
    if not tried:
        return ["Not measured yet."]
    out = ["Change of the test metric when this alone is added; positive is better. Both sides have the same examples and start.",
           "", cells(["data", "metric", "without", "change", "95% interval", "seeds", "setting"]), cells(["---"] * 7)]
    for column, e in tried:
        setting = wf.Recipe.from_mapping({"format": 1, "regularizers": e["recipe"]}).to_python()[len("wf.Recipe("):-1]
        out.append(cells([f"{title_of(column)} ({e['epochs']} epochs)", e["metric"], f"{e['without']:.2f}"])
                   + effect_words(e)[1:] + f" `{setting}` |")
    out += ["", "An interval that holds 0 shows nothing either way. Nothing was tuned for the data. Written by", ""]
    out += ["```text", *commands(), "```"]
    return out


# ---- the pages


def method_page(name: str, cls: type[Regularizer]) -> str:
    row = describe(cls)
    labelled = [p for p in paragraphs(row["text"])[1:] if not p.startswith(LABELS)]
    shapes = next((p for p in paragraphs(row["text"]) if p.startswith("Shapes")), "")
    raises = next((p for p in paragraphs(row["text"]) if p.startswith("Raises")), "")
    out = [NOTICE + f"# {row['title']}", "", f"`wf.{row['class']}`, in recipes `{name}`. [All methods](README.md)", "",
           f"> {plain(sentence(row['formula']))}", ""]
    for text in labelled:
        out += [plain(text) if "\n" not in text else "```text\n" + inspect.cleandoc(text) + "\n```", ""]
    if shapes:
        out += [plain(shapes), ""]
    if cls.takes in TAKES:
        out += [f"It takes {TAKES[cls.takes]}.", ""]
    out += ["## Fields", ""]
    if row["fields"]:
        out += [cells(["field", "default", "allowed", "searched", "does nothing at", "unit", "meaning"]), cells(["---"] * 7)]
        out += [field_row(f) for f in row["fields"]]
        changing = [f"`{f['name']}`" for f in row["fields"] if f.get("schedulable")]
        if changing:
            out += ["", f"May change during training (a schedule such as `wf.Cosine(0.0, 0.3)`): {', '.join(changing)}."]
    else:
        out.append("None.")
    out += ["", "## What it does, and when", "", *[f"- It {PHASES[p]}." for p in row["phases"]]]
    if cls.proximal:
        out.append("- Its step is a proximal one in the optimizer's own metric, so zeros are exact zeros.")
    if not cls.stacked:
        out.append("- In a search each network with it is trained by itself, not in a stack with others.")
    out += ["", "## When it helps", "", plain(sentence(row["when_it_helps"])), "", "## When it hurts", "",
            plain(sentence(row["when_it_hurts"])), ""]
    if row["conflicts"] or row["requires"]:
        out += ["## Beside others", ""]
        out += [f"- Not with {link(other)}: {plain(reason.rstrip('.'))}." for other, reason in row["conflicts"].items()]
        only = "In the built-in network only" if cls.required_by == "built_in" else "Only"
        out += [f"- {only} with {link(other)}: {plain(reason.rstrip('.'))}." for other, reason in row["requires"].items()]
        out.append("")
    beside = [usual(lookup(other)) for other in row["requires"]]
    recipe = wf.Recipe(*beside, usual(cls))
    out += ["## Example", "", "```python", "import wellfit as wf", "", f"recipe = {recipe.to_python()}", "```", "", "```yaml",
            recipe.to_yaml().rstrip(), "```", ""]
    if raises:
        out += [plain(raises), ""]
    out += ["## Measured effect", "", *measured_effect(name), "", "## Source", "", plain(sentence(row["source"])), ""]
    return "\n".join(out)


def link(name: str) -> str:
    return f"[{name}]({name}.md)" if name in registered() else f"`{name}`"


def field_row(f: dict[str, Any]) -> str:
    default = "required" if f["required"] else number(f["default"])
    if f.get("kind") == "choice":
        allowed = ", ".join(number(c) for c in f["choices"]) if f["choices"] else "text"
        return cells([f"`{f['name']}`", default, allowed, "", "", "", plain(f["meaning"])])
    ends = f.get("search")
    searched = f"{number(ends[0])} to {number(ends[1])}" + (", log" if f["scale"] == "log" else "") if ends else ""
    allowed = f.get("range", "") + (", or none" if f.get("optional") else "")
    return cells([f"`{f['name']}`", default, allowed, searched, "" if f.get("neutral") is None else number(f["neutral"]),
                  f.get("unit", ""), plain(f.get("meaning", ""))])


def index_page() -> str:
    out = [NOTICE + "# Methods", "", f"{len(registered())} methods, by what they act on. [Which one for what?](../choosing.md)", ""]
    by_group: dict[str, list[tuple[str, type[Regularizer]]]] = {}
    for name, cls in registered().items():
        by_group.setdefault(group_of(cls), []).append((name, cls))
    for group, title in GROUPS.items():
        out += [f"## {title}", "", cells(["method", "what it does"]), cells(["---"] * 2)]
        out += [cells([f"[{c.__name__}]({n}.md)", plain(sentence(describe(c)["formula"]))]) for n, c in by_group.pop(group, [])]
        out.append("")
    if by_group:
        raise SystemExit(f"docs/build.py: GROUPS lacks {', '.join(by_group)}")
    out += ["## Measured effects", ""]
    if not found():
        return "\n".join([*out, "Not measured yet. `benchmarks/effects.py --out docs/effects.jsonl` measures them.", ""])
    out += [" ".join([
        "Change of the test metric when one method alone is added to the built-in network; positive is better (for rmse: how far",
        "it falls), with half the width of a 95% interval over seeds. Nothing was tuned for the data. An interval that holds 0",
        "shows nothing either way, and among so many some miss the truth by chance alone. – means that the method does not fit."]),
        ""]
    headers, rows = measured.grid(found())
    out += [cells(headers), cells(["---"] * len(headers))]
    out += [cells([f"[{r[0]}]({r[0]}.md)" if r[0] in registered() else r[0], *r[1:]]) for r in rows]
    out += ["", *column_notes(), "", "```text", *commands(), "```", ""]
    return "\n".join(out)


def column_notes() -> list[str]:
    out = []
    for column in measured.columns_of(found()):
        some = next((e for (_, c), e in found().items() if c == column and "effect" in e), None)
        if some:
            out.append(f"- `{column}`: {title_of(column)}; {some['metric']}; {some['train']} to learn from, {some['test']} for the "
                       f"test, {some['epochs']} epochs; without any method {some['without']:.2f}.")
    return out


# ---- choosing.md


def choosing_page() -> str:
    source = yaml.safe_load((DOCS / "choosing.yaml").read_text(encoding="utf-8"))
    out = [NOTICE.replace("the definition or its docstring", "choosing.yaml") + "# Choosing", "", source["opening"].strip(), ""]
    for part in source["parts"]:
        out += [f"## {part['title']}", "", *([part["text"].strip(), ""] if "text" in part else []),
                cells([part["of"], "try first", "then", "why", "shown by"]), cells(["---"] * 5)]
        out += [cells([r["when"], methods(r["first"]), methods(r.get("then", [])), sentence(r["why"]), evidence(r)])
                for r in part["rows"]]
        out.append("")
    return "\n".join([*out, source["closing"].strip(), ""])


def methods(names: list[str]) -> str:
    for name in names:
        lookup(name)
    return ", ".join(f"[{lookup(n).__name__}](methods/{n}.md)" for n in names)


def evidence(row: dict[str, Any]) -> str:
    """Where a statement can be looked up: a measured effect, a test, or a paper."""
    parts = []
    for name, column in row.get("measured", []):
        if column not in measured.COLUMNS:
            raise SystemExit(f"docs/build.py: choosing.yaml names an unknown column, {column}")
        entry = found().get((name, column))
        if entry and "effect" in entry:
            parts.append(f"[measured](methods/README.md#measured-effects): {name} on {column} {measured.shown(entry)}")
    for test in row.get("tests", []):
        if not (ROOT / test).is_file():
            raise SystemExit(f"docs/build.py: choosing.yaml names {test}, which is not there")
        parts.append(f"[{Path(test).name}](../{test})")
    parts += row.get("papers", [])
    if not parts:
        raise SystemExit(f"docs/build.py: choosing.yaml states without evidence: {row['when']}")
    return "; ".join(parts)


# ---- writing


def pages() -> dict[Path, str]:
    """Every generated page by its path."""
    out = {DOCS / "methods" / f"{name}.md": method_page(name, cls) for name, cls in registered().items()
           if cls.__module__.startswith("wellfit.")}
    return {**out, DOCS / "methods" / "README.md": index_page(), DOCS / "choosing.md": choosing_page(),
            DOCS / "doctor.md": doctor_page.page(NOTICE)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is out of date")
    check = parser.parse_args().check
    wanted = pages()
    stale = [p for p in sorted((DOCS / "methods").glob("*.md")) if p not in wanted]
    changed = [p for p, text in wanted.items() if not p.is_file() or p.read_text(encoding="utf-8") != text]
    if check:
        for path in [*changed, *stale]:
            print(f"{path.relative_to(ROOT).as_posix()}: {'of no method' if path in stale else 'out of date'}", file=sys.stderr)
        if changed or stale:
            print("run: python docs/build.py", file=sys.stderr)
        return 1 if changed or stale else 0
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8", newline="\n")
    for path in stale:
        path.unlink()
    print(f"{len(changed)} pages written, {len(stale)} removed, {len(wanted)} in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
