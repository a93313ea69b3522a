"""The README and the pages of the documentation, and the code blocks in them."""

from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for path in ROOT.glob("docs/**/*.md") if "_build" not in path.parts),
]


class Block(NamedTuple):
    """A fenced block: its first line says ```language flags."""

    language: str
    flags: list[str]
    code: str
    line: int  # of the page, on which the code begins
    comment: str  # in HTML, right before the block


def name_of(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that name their language."""
    found, comment = [], ""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "fence" and token.info.strip() and token.map:
            language, *flags = token.info.split()
            found.append(Block(language, flags, token.content, token.map[0] + 2, comment))
        is_comment = token.type == "html_block" and token.content.startswith("<!--")
        comment = token.content if is_comment else ""
    return found


def module_of(page: Path) -> str:
    """All Python of a page as one module, every line of it where it is on the page."""
    lines: list[str] = []
    for block in blocks(page):
        if block.language == "python":
            lines += [""] * (block.line - 1 - len(lines)) + block.code.splitlines()
    return "\n".join(lines) + "\n"
