"""The page around the sections: head, style, table of contents, chart libraries, script."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from wellfit.report.markup import Section, esc, p, script_hash, tag
from wellfit.report.tables import details

BUNDLES = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")


@cache
def asset(folder: str, name: str) -> str:
    """A text file that ships with the report package."""
    return files("wellfit.report").joinpath(folder, name).read_text(encoding="utf-8")


@cache
def _asset_hash(folder: str, name: str) -> str:
    """The policy's expression for a script that ships with the package."""
    return script_hash(asset(folder, name))


def _policy(scripts: Sequence[tuple[str, str]]) -> str:
    """A content security policy: nothing is loaded from anywhere, and only these very scripts run."""
    allowed = " ".join(_asset_hash(*script) for script in scripts)
    return (f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
            "form-action 'none'")


def _contents(sections: Sequence[Section]) -> str:
    """The table of contents: beside the text on a wide page, hidden on a narrow one."""
    links = [tag("li", tag("a", esc(s.label), href=f"#{s.id}")) for s in sections]
    return tag("nav", tag("ul", tag("li", tag("a", "Top", href="#top")), *links), class_="contents",
               aria_label="Contents")


def page(title: str, header: str, sections: Sequence[Section], closing: str) -> str:
    """The whole document.

    Args:
        title: text of the title element.
        header: markup of the header.
        sections: in reading order.
        closing: text at the end, such as what is missing; empty for none.
    """
    charts = any("data-chart" in s.html for s in sections)
    scripts = [*(("vendor", name) for name in BUNDLES if charts), ("assets", "report.js")]
    head = "".join([
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{esc(_policy(scripts))}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="generator" content="wellfit">',
        tag("title", esc(title)),
        f"<style>{asset('assets', 'report.css')}</style>",
        "<noscript><style>.plot,.copy{display:none}</style></noscript>",
    ])
    no_script = "<noscript>" + p("The charts need JavaScript. The numbers behind each are in the table below it.",
                                 class_="note") + "</noscript>" if charts else ""
    licences = details("Licences of the chart libraries in this file",
                       tag("pre", esc(asset("vendor", "LICENSES.txt")), tabindex="0", role="region",
                           aria_label="Licences")) if charts else ""
    footer = tag("footer", p(esc(closing)) if closing else "",
                 p("Written by wellfit. This file is complete in itself and loads nothing from the network."), licences)
    main = tag("main", header, no_script, *(s.render() for s in sections), footer, id="main")
    body = (tag("a", "Skip to the report", href="#main", class_="skip") + tag("div", _contents(sections), main,
                                                                               class_="shell")
            + "".join(f"<script>{asset(*script)}</script>" for script in scripts))
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'
