"""HTML as plain strings. Everything that is not known markup goes through :func:`esc`."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


def esc(value: object) -> str:
    """Text made safe between tags and inside quoted attributes."""
    return html.escape("" if value is None else str(value), quote=True)


def prose(text: object) -> str:
    """Text made safe, with what stands between backticks as code.

    >>> prose("`a < b` holds")
    '<code>a &lt; b</code> holds'
    """
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", esc(text))


def tag(name: str, *content: str, **attributes: object) -> str:
    """An element around already safe content.

    ``class_`` gives ``class``, other underscores become hyphens; None and False attributes are left out.

    >>> tag("p", "a", class_="lead", aria_hidden=None)
    '<p class="lead">a</p>'
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        parts.append(shown if value is True else f'{shown}="{esc(value)}"')
    return f"<{' '.join(parts)}>{''.join(content)}</{name}>"


def p(*content: str, class_: str | None = None) -> str:
    """A paragraph of already safe content."""
    return tag("p", *content, class_=class_)


def bullets(items: Iterable[str], class_: str | None = None) -> str:
    """A list of already safe items."""
    return tag("ul", *(tag("li", item) for item in items), class_=class_)


def listed(words: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    items = list(words)
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]


def finite(value: Any) -> Any:
    """The same JSON value with NaN and infinities as None, floats cut to seven significant digits."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return value


def json_script(value: Any) -> str:
    """JSON that is safe inside a script element: no ``<``, ``>``, ``&`` or line separators survive as such."""
    text = json.dumps(finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"),
                              ("\u2028", "\\u2028"), ("\u2029", "\\u2029")):
        text = text.replace(character, escape)
    # A lone surrogate is legal in a JSON file but cannot be written as UTF-8.
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def script_hash(source: str) -> str:
    """The content-security-policy source expression that allows exactly this inline script."""
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


@dataclass(frozen=True)
class Section:
    """One section of the report: ``id`` is its anchor, ``html`` its safe content below the heading."""

    id: str
    title: str
    html: str
    short: str = ""

    @property
    def label(self) -> str:
        """The title in the table of contents."""
        return self.short or self.title

    def render(self) -> str:
        """The whole section element."""
        heading = tag("h2", esc(self.title), id=f"{self.id}-title")
        return tag("section", heading, self.html, id=self.id, aria_labelledby=f"{self.id}-title")
