"""Pages of HTML that need nothing beside them, from the templates in the folders of this package."""

import re
from base64 import b64encode
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

KINDS = {".png": "image/png", ".webp": "image/webp"}
QUOTED = str.maketrans({"%": "%25", "#": "%23", "&": "%26", "'": "%27", '"': "'"})
"""What cannot stand in an address between quotation marks, and what takes its place."""


def render(template: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: Its file, such as ``compare/page.html``; may include others, such as ``page.css``.
        values: What the template names.
    """
    environment = Environment(
        loader=PackageLoader("experiments", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def as_data(path: Path) -> Markup:
    """Return a picture's file as an address for ``src="..."`` that holds all of it.

    Args:
        path: SVG, PNG or WebP. Of SVG, comments and metadata are left out.
    """
    if path.suffix != ".svg":
        return Markup(f"data:{KINDS[path.suffix]};base64,{b64encode(path.read_bytes()).decode()}")
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    return Markup("data:image/svg+xml," + " ".join(text.split()).translate(QUOTED))
