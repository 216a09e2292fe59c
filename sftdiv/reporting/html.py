"""Renders the HTML pages: one base template and style sheet, extended by those of each page.

Values are escaped unless a template marks them as safe; an undefined value is an error.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent


def script_hash(script: str) -> str:
    """The hash of an inline script for a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def render_html(folder: Path, page: str, *, style: str | None = None, **values: Any) -> str:
    """Render ``PAGE.html.jinja`` of a folder, with ``page.css`` followed by ``STYLE.css`` as its style.

    Args:
        folder: Folder of the template and style sheet, which may extend those of this folder.
        page: Name of the page.
        style: Name of its style sheet; None for that of the page.
        values: Variables of the template.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = "".join(path.read_text(encoding="utf-8") for path in (HERE / "page.css", folder / f"{style or page}.css"))
    return environment.get_template(f"{page}.html.jinja").render(css=css, **values)
