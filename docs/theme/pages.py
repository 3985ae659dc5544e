"""Hooks of MkDocs: pages from files outside docs/, notebooks as pages, links, formulas."""

import html
import logging
import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Files of the repository that are pages of the site, and their places in it.
RENAMED = {"README.md": "readme.md", "CONTRIBUTING.md": "contributing.md"}
RENAMED |= {"CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md"}
MOUNTED = ["weights/*.md", "configs/*/README.md"]
FENCE = re.compile(r"(^ *```.*?^ *```)", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")
ROLE = re.compile(r":[a-z]+:(?=<code>)")
LOG = logging.getLogger("mkdocs.hooks.pages")  # a warning of mkdocs' loggers ends the build
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def pages() -> dict[str, str]:
    """The place of each page in the site, by its path in the repository."""
    docs = sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.*"))
    found = {
        path.as_posix(): path.relative_to("docs").as_posix().replace(".ipynb", ".md")
        for path in docs
        if path.suffix in (".md", ".ipynb") and ".ipynb_checkpoints" not in path.parts
    }
    mounted = sorted(path.relative_to(ROOT).as_posix() for p in MOUNTED for path in ROOT.glob(p))
    return {**found, **RENAMED, **{path: path for path in mounted}}


def target(link: str, source: str, places: dict[str, str], repository: str) -> str | None:
    """What a relative link of a file of the repository is in the site; None if it leads nowhere.

    Args:
        link: The link's path, without an anchor.
        source: Path of the file with the link, in the repository.
        places: What :func:`pages` returns.
        repository: URL of the repository, with ``{kind}`` for ``blob`` or ``tree``.
    """
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    if f"{path}/README.md" in places:
        path = f"{path}/README.md"
    if not (ROOT / path).exists() or path.startswith(".."):
        return None
    here = posixpath.dirname(places[source])
    if path in places:
        return posixpath.relpath(places[path], here or ".")
    if path.startswith("docs/") and (ROOT / path).is_file():
        return posixpath.relpath(path.removeprefix("docs/"), here or ".")
    return repository.format(kind="tree" if (ROOT / path).is_dir() else "blob") + path


def on_files(files, config):
    from mkdocs.structure.files import File

    for source, place in pages().items():
        if source.endswith(".ipynb"):
            for name, content in notebook(ROOT / source, place).items():
                files.append(File.generated(config, name, content=content))
        elif not source.startswith("docs/"):
            files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files


def notebook(path: Path, place: str) -> dict[str, str | bytes]:
    """The files of a notebook's page: Markdown and pictures."""
    from nbconvert import MarkdownExporter

    stem = place.removesuffix(".md")
    text, resources = MarkdownExporter().from_filename(path)
    made: dict[str, str | bytes] = {}
    for name, content in resources["outputs"].items():
        made[f"{stem}_{name}"] = content
        text = text.replace(f"![png]({name})", f"![What this cell shows]({path.stem}_{name})")
    return {place: text, **made}


def on_page_markdown(markdown, page, config, files):
    """Turn links to files of the repository into links to pages, or into URLs of the repository."""
    places = pages()
    source = {place: path for path, place in places.items()}.get(page.file.src_uri)
    repository = f"{config.repo_url}/{{kind}}/{config.extra['ref']}/"

    def replaced(found: re.Match) -> str:
        link = target(found[1], source, places, repository)
        return found[0] if link is None else f"]({link}{found[2] or ''})"

    parts = FENCE.split(markdown)
    parts[::2] = [LINK.sub(replaced, part) for part in parts[::2]]
    return indented("".join(parts))


def indented(markdown: str) -> str:
    """Indent what belongs to an item of a list by four spaces, as Python-Markdown needs it."""
    lines, width = [], 0
    for line in markdown.splitlines():
        item = re.match(r"([-*] |\d+\. )\S", line)
        if item:
            width = len(item[1])
        elif line and not line.startswith(" " * width):
            width = 0
        elif width and line:
            line = "    " + line[width:]
        lines.append(line)
    return "\n".join(lines)


def on_page_content(content, page, config, files):
    """Write formulas as MathML, which browsers draw by themselves."""
    from latex2mathml.converter import convert

    def formula(found: re.Match) -> str:
        block = found[1] == "div"
        made = convert(html.unescape(found[2]), display="block" if block else "inline")
        return f'<div class="formula">{made}</div>' if block else made

    left = ROLE.search(content)
    if left:
        LOG.warning("%s: docs/theme/docstrings.py does not know %r", page.file.src_uri, left[0])
    return FORMULA.sub(formula, content)
