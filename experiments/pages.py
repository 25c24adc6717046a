"""Pages of HTML that need nothing beside them, from the templates in the folders of this package."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


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
