"""The documentation site has every page, and every link leads to a file and a heading.

`make docs` builds the site.
"""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

CODE = re.compile(r"^ *```.*?^ *```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!\w+:)([^)\s#]*)(#[^)\s]*)?\)")
REPOSITORY = "https://example.org/{kind}/main/"


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml without running what it names."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
Loader.add_constructor("!ENV", lambda loader, node: loader.construct_sequence(node)[-1])


@pytest.fixture(scope="module")
def config(checkout) -> dict:
    return yaml.load((checkout / "mkdocs.yml").read_text(), Loader)


@pytest.fixture(scope="module")
def hooks(checkout) -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", checkout / "docs/theme/pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed(nav) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in listed(part)]


def anchors(file: Path) -> set[str]:
    """The anchors of the headings of a Markdown file, as GitHub names them."""
    text = re.sub(r"^ *```.*?^ *```", "", file.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in plain}


def test_the_navigation_lists_each_page_once(config, hooks):
    pages = listed(config["nav"])
    assert len(set(pages)) == len(pages)
    assert set(pages) == set(hooks.pages().values())


def test_the_start_comes_first_and_the_reference_late(config):
    sections = [name for part in config["nav"] for name in part]
    assert sections[0] == "Start" and sections.index("Tutorials") == 1
    assert sections.index("Measurements") < sections.index("Reference")


def test_warnings_are_errors_and_nothing_is_loaded_from_elsewhere(config):
    assert config["strict"] is True
    checks = {**config["validation"]["nav"], **config["validation"]["links"]}
    assert set(checks.values()) == {"warn"}
    assert config["theme"]["font"] is False
    assert not config.get("extra_javascript")


def test_each_package_with_public_names_has_a_page_in_the_reference(checkout, config):
    shown = "".join(path.read_text() for path in sorted((checkout / "docs/api").glob("*.md")))
    shown = set(re.findall(r"^::: ([\w.]+)$", shown, re.MULTILINE))
    public = {
        ".".join(path.parent.relative_to(checkout).parts)
        for path in (checkout / "mmlevelset").rglob("__init__.py")
        if "__all__ = [" in path.read_text()
    }
    inner = {"mmlevelset.ops.classic", "mmlevelset.ops.kernels"}
    commands = {name for name in public if name.split(".")[1] in ("experiments", "converters")}
    assert public - inner - commands <= shown
    for name in shown:
        assert (checkout / name.replace(".", "/")).is_dir() or name == "mmlevelset.runtime"


def test_each_link_leads_to_a_file_and_a_heading(checkout, hooks):
    """On GitHub; the site's build checks the same for the site."""
    links = 0
    for source in hooks.pages():
        if not source.endswith(".md"):
            continue
        text = CODE.sub("", (checkout / source).read_text())
        for path, anchor in LINK.findall(text):
            file = (checkout / source).parent / path if path else checkout / source
            assert file.exists(), f"{source}: {path}"
            if anchor and file.suffix == ".md":
                assert anchor[1:] in anchors(file), f"{source}: {path}{anchor}"
            links += 1
    assert links > 300


@pytest.mark.parametrize(
    ("link", "source", "expected"),
    [
        ("ops.md", "docs/index.md", "ops.md"),
        ("../README.md", "docs/ops.md", "readme.md"),
        ("../README.md", "docs/api/ops.md", None),
        ("docs/ops.md", "README.md", "ops.md"),
        ("docs/images/shapes.jpg", "README.md", "images/shapes.jpg"),
        ("configs/crls", "README.md", "configs/crls/README.md"),
        ("../../docs/crls.md", "configs/crls/README.md", "../../crls.md"),
        ("../crls/README.md", "configs/levelset_rcnn/README.md", "../crls/README.md"),
        ("chan_vese.ipynb", "docs/tutorials/index.md", "chan_vese.md"),
        ("../ops.md", "docs/tutorials/chan_vese.ipynb", "../ops.md"),
        ("../configs/sweeps", "docs/sweeps.md", REPOSITORY.format(kind="tree") + "configs/sweeps"),
        ("LICENSE", "README.md", REPOSITORY.format(kind="blob") + "LICENSE"),
        ("missing.md", "docs/ops.md", None),
        ("../../elsewhere", "docs/ops.md", None),
    ],
)
def test_a_link_becomes_a_page_of_the_site_or_a_url_of_the_repository(
    hooks, link, source, expected
):
    assert hooks.target(link, source, hooks.pages(), REPOSITORY) == expected


def test_links_in_code_stay(hooks):
    from types import SimpleNamespace as Some

    page = Some(file=Some(src_uri="ops.md"))
    config = Some(repo_url="https://example.org", extra=dict(ref="v1"))
    text = "[a](../LICENSE) and\n\n```python\nx[0](../LICENSE)\n```\n[b](../README.md#install)"
    assert hooks.on_page_markdown(text, page, config, None) == (
        "[a](https://example.org/blob/v1/LICENSE) and\n\n"
        "```python\nx[0](../LICENSE)\n```\n[b](readme.md#install)"
    )


def test_what_belongs_to_an_item_of_a_list_stays_in_it(hooks):
    text = "1. a\n\n   ```\n   x\n   ```\n2. b\n   - c\n\n- d\n  e\n\n  f\ng\n    code"
    assert hooks.indented(text) == (
        "1. a\n\n    ```\n    x\n    ```\n2. b\n    - c\n\n- d\n    e\n\n    f\ng\n    code"
    )


def test_the_workflow_writes_to_the_repository_only_where_it_publishes(checkout):
    text = (checkout / ".github/workflows/docs.yml").read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    assert "permissions" not in build and {"run": "make docs"} in build["steps"]
    assert publish["if"] == "github.event_name == 'push'" and publish["needs"] == "build"
    ci = (checkout / ".github/workflows/ci.yml").read_text()
    actions = re.findall(r"uses: (.*)", text)
    assert actions and set(actions) <= set(re.findall(r"uses: (.*)", ci))
