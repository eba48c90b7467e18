"""The page: well-formed, self-contained, escaped, accessible, complete and robust."""

from __future__ import annotations

import ast
import hashlib
import html
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from report import synthetic_run
from wellfit.core.errors import WellfitError
from wellfit.report import write, write_report
from wellfit.report.artefacts import read_run
from wellfit.report.page import BUNDLES, asset

VOID = {"meta", "br", "link", "img", "input", "hr"}
ORDER = ["fit", "methods", "attribution", "response", "weights", "boundary", "search", "recipe", "honesty",
         "provenance"]


class Walk(HTMLParser):
    """Collects elements, ids, attributes and texts, and checks that every element is closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.tags: Counter[str] = Counter()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.headings: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        self.tags[tag] += 1
        if tag in ("h1", "h2", "h3"):
            self.headings.append(tag)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack[-1] == tag, f"</{tag}> closes <{self.stack[-1]}>"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "script":
            self.scripts.append((self.elements[-1][1], data))
        elif self.stack and self.stack[-1] != "style":
            self.text.append(data)


def specs(walk: Walk) -> list[dict[str, Any]]:
    """The chart specifications of a page."""
    return [json.loads(source) for attributes, source in walk.scripts if attributes.get("type") == "application/json"]


def words(text: str) -> str:
    """The text of a page as a reader sees it, white space collapsed."""
    return re.sub(r"\s+", " ", " ".join(Walk(text).text)).replace("\u00a0", " ")


def own_markup(text: str) -> str:
    """The page without chart libraries and licence texts."""
    for name in BUNDLES:
        text = text.replace(asset("vendor", name), "")
    return text.replace(html.escape(asset("vendor", "LICENSES.txt")), "")


def edit(run: Path, file: str, **changes: Any) -> None:
    """Change top-level entries of a run's JSON file."""
    given = json.loads((run / file).read_text(encoding="utf-8"))
    (run / file).write_text(json.dumps({**given, **changes}), encoding="utf-8")


@pytest.mark.parametrize("kind", ["classification", "regression", "nasty", "minimal"])
def test_well_formed_and_accessible(reports: dict[str, str], kind: str) -> None:
    walk = Walk(reports[kind])
    assert walk.stack == []
    once = ("html", "head", "body", "main", "header", "footer", "h1", "title", "nav")
    assert all(walk.tags[tag] == 1 for tag in once)
    ids = [attributes["id"] for _, attributes in walk.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in walk.elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids
        if "href" in attributes:
            assert attributes["href"].startswith("#"), attributes
            assert attributes["href"][1:] in ids
        if tag in ("figure", "button") or attributes.get("role") == "region":
            assert attributes.get("aria-label"), (tag, attributes)
    assert walk.headings[0] == "h1"
    assert all(b <= a or int(b[1]) == int(a[1]) + 1 for a, b in zip(walk.headings, walk.headings[1:]))
    charts = specs(walk)
    assert len(charts) == walk.tags["figure"]
    assert all(len(spec["description"]) > 20 for spec in charts)
    assert all("<table" in figure and "<details" in figure
               for figure in re.findall(r"<figure.*?</figure>", own_markup(reports[kind]), flags=re.S))


@pytest.mark.parametrize("kind", ["classification", "regression", "nasty", "minimal"])
def test_self_contained(reports: dict[str, str], kind: str) -> None:
    text = own_markup(reports[kind])
    assert not re.search(r"https?://", text)
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|sourceMappingURL|<link|<iframe|<base", text)
    walk = Walk(reports[kind])
    assert not [a for _, a in walk.elements if "src" in a or "srcset" in a]
    assert len(reports[kind].encode()) < 1_600_000
    assert ("vega" in reports[kind][200_000:]) == (kind != "minimal"), "without charts there is no chart library"


@pytest.mark.parametrize("kind", ["classification", "nasty", "minimal"])
def test_policy_allows_these_scripts_only(reports: dict[str, str], kind: str) -> None:
    walk = Walk(reports[kind])
    policy = next(a["content"] for _, a in walk.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "unsafe-eval" not in policy
    run = [source for attributes, source in walk.scripts if not attributes]
    assert len(run) == policy.count("'sha256-") == (1 if kind == "minimal" else 4)


def test_user_strings_are_escaped(reports: dict[str, str]) -> None:
    text = own_markup(reports["nasty"])
    for raw in ("<b>age</b>", "<img src=x", "<script>alert", "<b>target", "<i>custom", '"onmouseover="x"',
                "<em>appear"):
        assert raw not in text, raw
    assert text.count("</script>") == text.count("<script") == len(Walk(reports["nasty"]).scripts)
    shown = words(reports["nasty"])
    for name in (*synthetic_run.NASTY[:4], "<img src=x onerror=alert(1)>", "<b>target</b> & co", "class 3 <&> '\""):
        assert name in shown, name


def test_expressions_hold_no_user_strings(reports: dict[str, str]) -> None:
    """What Vega evaluates is ours alone; names of the user are data, titles and descriptions."""
    evaluated: list[str] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in ("expr", "test", "calculate", "filter", "labelExpr", "field") and isinstance(inner, str):
                    evaluated.append(inner)
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)

    for spec in specs(Walk(reports["nasty"])):
        collect(spec)
    assert len(evaluated) > 50
    names = (*synthetic_run.NASTY[:4], *synthetic_run.NASTY[6:8], "<i>", "class 1")
    assert not [e for e in evaluated for name in names if name in e]


def test_sections_of_a_full_run(reports: dict[str, str]) -> None:
    for kind in ("classification", "regression", "nasty"):
        walk = Walk(reports[kind])
        assert [a["id"] for t, a in walk.elements if t == "section"] == ORDER
    text = words(reports["classification"])
    for expected in ("Left alone, this network overfits.", "The recipe wins 5.2 points.", "84.2%", "89.3%",
                     "+3.7 to +6.7 points, excludes zero", "evaluation mode, without penalty", "Exact zeros by layer",
                     "The best network reads 7 of 10 inputs", "read once, at the end", "flattered it by 1.5 points",
                     "2 min 11 s", "9f86d081", "wf.Mixup(alpha=wf.Cosine(start=0.3, end=0.0))", "5 folds",
                     "timescale: 40.0", "Keep: leaving it out costs", "Drop: no measurable benefit"):
        assert expected in text, expected
    regression = words(reports["regression"])
    for expected in ("The recipe lowers RMSE by 0.710.", "3.920", "Gain (lower RMSE)", "+0.710", "lower is better"):
        assert expected in regression, expected


def test_a_run_that_stopped_early(reports: dict[str, str]) -> None:
    walk = Walk(reports["minimal"])
    assert [a["id"] for t, a in walk.elements if t == "section"] == ["fit", "methods", "honesty", "provenance"]
    text = words(reports["minimal"])
    for expected in ("There is no tested recipe yet.", "no gain to state", "Only one network was tested", "79.0%",
                     "No recipe has been chosen yet", "holds no training curves", "no data for: leave-one-out effects"):
        assert expected in text, expected


@pytest.mark.parametrize(("ends", "expected", "headline"), [
    ([-0.01, 0.05], "includes zero", "cannot be told from zero"),
    ([-0.05, -0.01], "lies below zero", "makes it worse"),
    (None, "states no interval", "cannot be told from zero"),
    ([0.05, float("nan")], "states no interval", "cannot be told from zero")])
def test_headline_follows_the_interval(tmp_path: Path, ends: Any, expected: str, headline: str) -> None:
    run = synthetic_run.write_run(tmp_path / "run", many=12, cells=6)
    edit(run, "summary.json", gain={"test": -0.02 if ends == [-0.05, -0.01] else 0.02, "ci": ends})
    text = words(write_report(run).read_text(encoding="utf-8"))
    assert expected in text
    assert headline in text


def test_a_run_that_chose_nothing_says_so(tmp_path: Path) -> None:
    run = synthetic_run.write_run(tmp_path / "run", many=12, cells=6)
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    edit(run, "summary.json", best={**summary["best"], "recipe": {"format": 1, "regularizers": []}},
         gain={"test": 0.0, "ci": [0.0, 0.0]})
    text = words(write_report(run).read_text(encoding="utf-8"))
    assert "No recipe showed more than luck, so none is chosen." in text
    assert "the network stays as it is" in text


@pytest.mark.parametrize("regression", [False, True])
def test_methods_without_a_test_score_are_shown_with_their_validation_score(tmp_path: Path, regression: bool) -> None:
    """Where trainings are dear, most single methods are compared on validation rows and never trained again."""
    run = synthetic_run.write_run(tmp_path / "run", regression=regression, many=12, cells=6)
    values = {"dropout": 3.125, "ema": 3.625} if regression else {"dropout": 0.8125, "ema": 0.7625}
    shown = {"dropout": "3.125", "ema": "3.625"} if regression else {"dropout": "81.2%", "ema": "76.2%"}
    edit(run, "summary.json", singles={n: {"validation": v, "test": None} for n, v in reversed(values.items())})
    text = words(write_report(run).read_text(encoding="utf-8"))
    assert f"2 single methods were compared on validation rows alone, where dropout did best with {shown['dropout']}" in text
    cells = text.split("Data as a table")[1:]
    table = next(c for c in cells if "95% interval of the gain" in c and "best recipe" in c)
    assert table.index(f"dropout {shown['dropout']} –") < table.index(f"ema {shown['ema']} –")


def test_a_gain_that_contradicts_the_scores_is_named(tmp_path: Path) -> None:
    run = synthetic_run.write_run(tmp_path / "run", regression=True, many=12, cells=6)
    edit(run, "summary.json", gain={"test": -0.71, "ci": [-0.9, -0.5]})
    assert "Trust the scores." in words(write_report(run).read_text(encoding="utf-8"))


def test_python_to_paste_is_python(reports: dict[str, str]) -> None:
    blocks = re.findall(r'<code id="recipe-python">(.*?)</code>', reports["classification"], flags=re.S)
    assert len(blocks) == 1
    ast.parse(html.unescape(blocks[0]))


@pytest.mark.parametrize("missing", ["run.json", "trials.jsonl", "evidence.json", "best/recipe.yaml"])
def test_an_absent_file_is_no_error(tmp_path: Path, missing: str) -> None:
    run = synthetic_run.write_run(tmp_path / "run", many=12, cells=6)
    (run / missing).unlink()
    walk = Walk(write_report(run).read_text(encoding="utf-8"))
    ids = {a["id"] for t, a in walk.elements if t == "section"}
    gone = {"trials.jsonl": {"search"}, "evidence.json": {"weights", "boundary"}}.get(missing, set())
    assert set(ORDER) - ids == gone  # without evidence, the strengths are drawn from the trials


def test_files_cut_short_are_named(tmp_path: Path) -> None:
    run = synthetic_run.write_run(tmp_path / "run", many=12, cells=6)
    with (run / "trials.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"number": 12, "reci')
    (run / "evidence.json").write_text('{"curves": ', encoding="utf-8")
    (run / "run.json").write_bytes(b"\xff\xfe\x00")
    text = words(write_report(run).read_text(encoding="utf-8"))
    assert "1 line of trials.jsonl could not be read" in text
    assert "evidence.json is not valid JSON" in text
    assert "run.json could not be read" in text


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WellfitError, match="no such run"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(WellfitError, match="not a run"):
        write_report(tmp_path)
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(WellfitError, match=r"no summary\.json yet"):
        write_report(tmp_path)
    for content, expected in (("{", "cannot be read"), ("[]", "not a JSON object"), ('{"format": 2}', "newer wellfit")):
        (tmp_path / "summary.json").write_text(content, encoding="utf-8")
        with pytest.raises(WellfitError, match=expected):
            write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_report_that_cannot_be_built_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = synthetic_run.write_minimal(tmp_path / "run")
    old = write_report(run).read_bytes()

    def fail(*_: object) -> None:
        raise RuntimeError("no")

    with monkeypatch.context() as patch:
        patch.setattr(write, "SECTIONS", (fail,))
        with pytest.raises(RuntimeError):
            write_report(run)
    with monkeypatch.context() as patch:
        patch.setattr(write.os, "replace", fail)
        with pytest.raises(RuntimeError):
            write_report(run)
    assert (run / "report.html").read_bytes() == old
    assert sorted(p.name for p in run.iterdir()) == ["report.html", "run.json", "summary.json"]


def test_odd_values_anywhere_never_stop_a_report(tmp_path: Path) -> None:
    """Entries of every artefact, replaced in turn by null, odd text, an empty list, an odd mapping and odd numbers."""
    run = synthetic_run.write_run(tmp_path / "run", nasty=True, classes=3, parts=3, many=6, cells=3, epochs=3)
    given = read_run(run)
    odd: list[Any] = [None, "<i>\ud800", [], {"ci": [None, 1], "name": 3, "test": 10**400}, float("nan"), -1]
    count = 0
    for part in ("summary", "info", "evidence"):
        whole = getattr(given, part)
        places = list(paths(whole, 3))
        for place in [x for x in places if len(x) < 3] + [x for x in places if len(x) == 3][::2]:
            changed = type(given)(**{**given.__dict__, part: replaced(whole, place, odd[count % len(odd)])})
            write.render(changed)
            count += 1
    assert count > 150


def paths(value: Any, depth: int) -> Any:
    """The keys that lead to every entry, down to a depth; of a list only the first entry."""
    items = value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else ()
    for key, inner in items:
        yield (key,)
        if depth > 1:
            for rest in paths(inner, depth - 1):
                yield (key, *rest)


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """A copy with one entry replaced."""
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = new if len(place) == 1 else replaced(value[place[0]], place[1:], new)
    return copy


def test_a_very_large_run_stays_small(tmp_path: Path) -> None:
    run = synthetic_run.write_run(tmp_path / "run", nasty=True, classes=20, parts=40, many=4000, cells=200)
    norms = [{"name": f"column number {i}", "norm": 0.0 if i % 2 else 1.0 / (i + 1)} for i in range(5000)]
    edit(run, "evidence.json", features={"total": 5000, "used": 2500, "norms": norms})
    assert write_report(run).stat().st_size < 1_600_000


def test_vendored_files_are_the_recorded_ones() -> None:
    readme = asset("vendor", "README.md")
    for name in BUNDLES:
        digest = hashlib.sha256(asset("vendor", name).encode("utf-8")).hexdigest()
        assert f"`{digest}`" in readme, name
        assert "</script" not in asset("vendor", name).lower()


def luminance(colour: str) -> float:
    """The relative luminance of a hex colour."""
    if len(colour) == 4:
        colour = "#" + "".join(c * 2 for c in colour[1:])
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a: str, b: str) -> float:
    """The WCAG contrast ratio of two colours."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_in_every_scheme() -> None:
    blocks = re.findall(r":root \{(.*?)\}", asset("assets", "report.css"), flags=re.S)
    assert len(blocks) == 3  # light, dark, print
    light = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{3,6});", blocks[0]))
    for block in blocks:
        colours = {**light, **dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{3,6});", block))}
        for ground in ("--paper", "--card", "--best-soft"):
            assert contrast(colours["--ink"], colours[ground]) > 7
        for name in ("--muted", "--none", "--best", "--warn"):
            assert contrast(colours[name], colours["--paper"]) > 4.5, (name, block)
        assert contrast(colours["--muted"], colours["--card"]) > 4.5
        for name in ("--single", "--baseline", "--axis", *(f"--class-{i}-deep" for i in range(8))):
            assert contrast(colours[name], colours["--paper"]) > 3, (name, block)
