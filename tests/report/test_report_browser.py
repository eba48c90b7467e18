"""The report in a browser: every chart drawn, nothing on the console, no sideways scrolling at 400 and 1280 pixels."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from report import synthetic_diagnosis
from wellfit.report import write_report
from wellfit.report.markup import script_hash

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
                 if (found := shutil.which(name))), None)

PROBE = """
(function () {
  var tries = 0;
  function look() {
    var plots = Array.from(document.querySelectorAll(".plot[data-chart]"));
    var waiting = plots.filter(function (p) { return !p.dataset.drawn && !p.classList.contains("failed"); });
    if (waiting.length && tries++ < 150) { setTimeout(look, 50); return; }
    var wide = Array.from(document.querySelectorAll("main *")).filter(function (e) {
      return !e.closest(".scroll, pre, svg, .skip") && e.getBoundingClientRect().right > window.innerWidth + 0.5;
    });
    parent.postMessage({
      name: window.name, charts: plots.length, waiting: waiting.length,
      failed: plots.filter(function (p) { return p.classList.contains("failed"); }).length,
      drawn: plots.filter(function (p) { return p.querySelector("svg .mark-group path"); }).length,
      labelled: plots.filter(function (p) { return p.getAttribute("aria-label"); }).length,
      narrowest: Math.min.apply(null, plots.map(function (p) { var svg = p.querySelector("svg");
        return svg ? svg.getBoundingClientRect().width : 0; })),
      scroll: document.documentElement.scrollWidth, width: window.innerWidth,
      wide: wide.slice(0, 5).map(function (e) { return e.outerHTML.slice(0, 120); }),
      alerts: window.alerted || 0
    }, "*");
  }
  look();
}());
"""

FRAMES = (("nasty", 400), ("nasty", 1280), ("regression", 400), ("minimal", 400))


def probed(report: str) -> str:
    """A copy of a report with the probe added, and allowed by its policy."""
    report = report.replace("script-src ", f"script-src {html.escape(script_hash(PROBE))} ", 1)
    before, end, after = report.rpartition("</body>")  # a chart library holds one too
    return f"{before}<script>{PROBE}</script>{end}{after}"


def shown_in_frames(pages: dict[str, str], shown_at: tuple[tuple[str, int], ...], tmp_path: Path) -> list[dict[str, Any]]:
    """What the probe says of each page at each width; nothing may be on the console."""
    frames = []
    for kind, width in shown_at:
        (tmp_path / f"{kind}.html").write_text(probed(pages[kind]), encoding="utf-8")
        frames.append(f'<iframe name="{kind}-{width}" src="{kind}.html" width="{width}" height="900"></iframe>')
    (tmp_path / "index.html").write_text(
        "<!doctype html><script>var found = []; addEventListener('message', function (event) { found.push(event.data);"
        " document.getElementById('found').textContent = JSON.stringify(found); });</script>"
        "<pre id=found></pre>" + "".join(frames), encoding="utf-8")
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
         "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}",
         "--virtual-time-budget=12000", "--dump-dom", (tmp_path / "index.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=False)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not console, "\n".join(line[:400] for line in console[:10])
    shown = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, flags=re.S)
    assert shown, done.stderr[-2000:]
    found: list[dict[str, Any]] = json.loads(html.unescape(shown[1]) or "[]")
    assert {f["name"] for f in found} == {f"{kind}-{width}" for kind, width in shown_at}
    return found


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_in_a_browser(reports: dict[str, str], tmp_path: Path) -> None:
    found = shown_in_frames(reports, FRAMES, tmp_path)
    for frame in found:
        assert frame["failed"] == frame["waiting"] == 0, frame
        assert frame["drawn"] == frame["labelled"] == frame["charts"], frame
        assert frame["charts"] == (0 if frame["name"] == "minimal-400" else frame["charts"])
        assert frame["charts"] > 10 or frame["name"] == "minimal-400"
        assert frame["scroll"] <= frame["width"], frame
        assert frame["wide"] == [], frame
        assert frame["charts"] == 0 or frame["narrowest"] > 150, frame


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_diagnosis_in_a_browser(tmp_path: Path) -> None:
    kinds = ("nasty", "whole", "regression", "empty")
    folders = {kind: synthetic_diagnosis.write(tmp_path / "of" / kind, synthetic_diagnosis.KINDS[kind]()) for kind in kinds}
    pages = {kind: write_report(folder).read_text("utf-8") for kind, folder in folders.items()}
    for frame in shown_in_frames(pages, tuple((kind, width) for kind in kinds for width in (400, 1280)), tmp_path):
        assert frame["failed"] == frame["waiting"] == 0, frame
        assert frame["drawn"] == frame["labelled"] == frame["charts"] == (0 if frame["name"].startswith("empty") else 9), frame
        assert frame["scroll"] <= frame["width"] and frame["wide"] == [] and not frame["alerts"], frame
