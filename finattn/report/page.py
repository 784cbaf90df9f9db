"""What all pages share: templates, the figures in them, and text that cannot end the element that holds it."""

from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs


class Figure(NamedTuple):
    """A figure for the page: `says` is read aloud in its place, `caption` stands below it."""

    key: str
    says: str
    caption: str
    json: Markup
    height: int


def embed(key: str, figure: go.Figure, says: str, caption: str) -> Figure:
    """Make a plotly figure ready for a page."""
    return Figure(key, says, caption, Markup(_script_safe(figure.to_json())), int(figure.layout.height))


def render(template: str, context: Mapping[str, Any]) -> str:
    """Fill a template of this folder; all text is escaped, and the page holds everything that it shows."""
    plotly = Markup(get_plotlyjs())  # a library's own code, the one text here that is not escaped
    return _environment().get_template(template).render(**context, plotly=plotly)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["together"] = _together
    return environment


def _source(template: str) -> str:
    return resources.files("finattn.report").joinpath(template).read_text(encoding="utf-8")


def _together(text: str) -> str:
    """Keep an estimate and its error, and both sides of an equation, on one line."""
    for sign in "±=<":
        text = text.replace(f" {sign} ", f"\N{NO-BREAK SPACE}{sign}\N{NO-BREAK SPACE}")
    return text


def _script_safe(text: str) -> str:
    """Write JSON so that no text inside it can end the script element that holds it."""
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
