"""Hook of MkDocs: adds the pages that stand outside `docs/`, and the API reference, one page per package.

The list of packages and modules is that of the source tree, so no page has to be written for a new module.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
TOP_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Page beside `docs/` -> its name on the site."""


BESIDE = {"LICENSE", "CITATION.cff"}
"""Files to which the top pages link."""
OUTSIDE = re.compile(r"\]\(\.\./([^)#]+)\)")
"""A link of a page in `docs/` to a file beside that folder."""


def packages() -> dict[str, list[str]]:
    """Return package -> its public modules, sorted; the modules of a package within a package are on its own page."""
    found: dict[str, list[str]] = {}
    for init in sorted((SOURCE / "regimen").rglob("__init__.py")):
        folder = init.parent
        name = ".".join(folder.relative_to(SOURCE).parts)
        modules = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
        if modules:
            found[name] = [f"{name}.{module}" for module in modules]
    return found


def page_of(package: str) -> str:
    """Return the file name of a package's page."""
    return f"api/{package}.md"


def api_page(package: str, modules: list[str]) -> str:
    """Return the Markdown of a package's page: the package's own docstring, then each module."""
    own = (
        f"::: {package}\n    options:\n      members: false\n      heading_level: 1\n      show_root_full_path: true\n"
    )
    return "\n".join([own, *(f"::: {module}\n" for module in modules)])


def api_nav() -> list[Any]:
    """Return the navigation of the reference: a heading for each package at the top, its own packages below."""
    nested: dict[str, list[str]] = {}
    for package in packages():
        nested.setdefault(".".join(package.split(".")[:2]), []).append(package)
    return [{top.removeprefix("regimen."): [{name: page_of(name)} for name in names]} for top, names in nested.items()]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Append the reference to the navigation."""
    assert config.nav is not None
    config.nav.append({"API reference": api_nav()})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages; links of the top pages to `docs/` and to each other are those of the site."""
    for name, target in TOP_PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        for other, page in TOP_PAGES.items():
            text = text.replace(f"]({other}", f"]({page}")
        files.append(File.generated(config, target, content=text))
    for package, modules in packages().items():
        files.append(File.generated(config, page_of(package), content=api_page(package, modules)))
    linked = {link for page in (ROOT / "docs").glob("*.md") for link in OUTSIDE.findall(page.read_text())}
    for path in sorted((linked | BESIDE) - TOP_PAGES.keys()):
        files.append(File(path, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links out of `docs/`, such as those to figures, to the pages and copies that `on_files` adds."""
    return OUTSIDE.sub(lambda link: f"]({TOP_PAGES.get(link[1], link[1])})", markdown)
