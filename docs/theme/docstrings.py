"""An extension of Griffe: the roles of Sphinx in docstrings as Markdown."""

import re
import textwrap

import griffe

MATH = re.compile(r":math:`([^`]+)`")
BLOCK = re.compile(r"^\.\. math::\n((?:[ \t]+.*\n|\n)+)", re.MULTILINE)
REFERENCE = re.compile(r":(?:class|func|meth|data|attr|mod):`(~?)([\w.]+)`")


class Roles(griffe.Extension):
    """Turns ``:math:``, ``.. math::``, ``:func:`` and the like into formulas and links."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value, obj)


def to_markdown(text: str, obj: griffe.Object) -> str:
    """The docstring of an object in Markdown, with names of the package as links."""
    text = BLOCK.sub(lambda found: f"$$\n{textwrap.dedent(found[1]).strip()}\n$$\n\n", text + "\n")
    text = MATH.sub(lambda found: "$" + " ".join(found[1].split()) + "$", text)
    # Griffe reads examples in a section of this name.
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
    return REFERENCE.sub(lambda found: link(found[2], bool(found[1]), obj), text).rstrip()


def link(name: str, short: bool, obj: griffe.Object) -> str:
    """A link to the name if it has a place on the site, else the name."""
    shown = name.rpartition(".")[2] if short else name.removeprefix("mmlevelset.ops.")
    try:
        path = obj.resolve(name)
    except griffe.NameResolutionError:
        path = name
    return f'<autoref optional identifier="{path}"><code>{shown}</code></autoref>'
