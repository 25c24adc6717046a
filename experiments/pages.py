"""Pages of HTML that need nothing beside them, from the templates in the folders of this package."""

from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

DRAWN_COLOURS = 64
"""Colours that are left of a drawing: its lines and letters look the same, and the page is smaller."""


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


def as_data(path: Path) -> str:
    """Return a picture's file as an address for ``src="..."`` that holds all of it.

    Args:
        path: WebP, which stays as it is, or a drawing as PNG, which becomes a smaller WebP.
    """
    content = path.read_bytes()
    if path.suffix == ".png":
        with Image.open(path) as picture, BytesIO() as file:
            few = picture.convert("RGB").quantize(DRAWN_COLOURS, dither=Image.Dither.NONE)
            few.convert("RGB").save(
                file, "WEBP", lossless=True, method=2, quality=50
            )  # the last two say how hard it tries
            content = file.getvalue()
    return f"data:image/webp;base64,{b64encode(content).decode()}"
