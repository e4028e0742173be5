"""The repository's own pages in the site as they are, and links that hold in both.

A link is written as the repository needs it, so that every page can be read there too. Formulas are plain
text: `<g, b - a>` is an inner product, and no page has HTML of its own.
"""

import posixpath
import re
from pathlib import Path

from markdown.extensions import Extension
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
# A README.md at the top would be the site's index.
PAGES = {
    "README.md": "readme.html",
    "CHANGELOG.md": "changelog.html",
    "benchmarks/README.md": "benchmarks.html",
    "examples/README.md": "examples.html",
}
PICTURES = [f"benchmarks/results/{path.name}" for path in (ROOT / "benchmarks/results").glob("*.png")]
LINK = re.compile(r"(?<=\]\()[^)#:\s]+(?=[)#])")


class NoHtml(Extension):
    def extendMarkdown(self, md):
        md.inlinePatterns.deregister("html")
        md.preprocessors.deregister("html_block")


def on_config(config):
    config.markdown_extensions.append(NoHtml())
    return config


def on_files(files, config):
    for name in (*PAGES, *PICTURES):
        file = File.generated(config, name, abs_src_path=str(ROOT / name))
        file.dest_uri = PAGES.get(name, name)
        files.append(file)
    return files


def on_page_markdown(markdown, page, **_):
    name = page.file.src_uri
    folder = posixpath.dirname(name if name in PAGES else f"docs/{name}")

    def moved(link):
        target = posixpath.normpath(posixpath.join(folder, link[0])).removeprefix("docs/")
        return posixpath.relpath(target, posixpath.dirname(name) or ".")

    return LINK.sub(moved, markdown)
