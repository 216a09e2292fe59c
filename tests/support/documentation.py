"""Fenced code blocks of README and docs: which pages there are, and the commands and files in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(
    r"(?:^<!-- needs: (?P<needs>.+?) -->\n)?^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its title (a file name), what it needs that a test has not, and its text."""

    language: str
    title: str | None
    needs: str | None
    text: str

    def commands(self):
        """The commands of the block, each as a list of words, without comments and variables."""
        lines = self.text.replace("\\\n", " ").splitlines()
        words = [shlex.split(line, comments=True) for line in lines]
        return [_without_variables(command) for command in words if command]


def blocks(page):
    """The fenced blocks of a page, in order."""
    return [Block(**match.groupdict()) for match in FENCE.finditer(page.read_text(encoding="utf-8"))]


def _without_variables(words):
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    return words
