"""Counts that say how easy the package is to find one's way in, for a checkout or for two side by side.

    python benchmarks/code_shape.py [FOLDER ...]

Each folder is a checkout that holds ``sftdiv/``; by default this one.
"""

import ast
import re
import sys
from collections import Counter
from pathlib import Path

LONGEST_FUNCTION, LONGEST_MODULE = 50, 250  # lines
COMMANDS = {"run.py", "measure.py", "regenerate.py"}  # with config/, the only code that may see a DictConfig


def shape(checkout: Path) -> dict[str, int]:
    """Counts of one checkout, by what is counted."""
    package = checkout / "sftdiv"
    paths = [path for path in sorted(package.rglob("*.py")) if "conf" not in path.relative_to(package).parts]
    texts = {path.relative_to(package): path.read_text(encoding="utf-8") for path in paths}
    outside = [text for path, text in texts.items() if path.parts[0] not in {"config", *COMMANDS}]
    names = Counter(path.name for path in texts if path.name not in {"__init__.py", "__main__.py"})
    functions = [
        node
        for text in texts.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    return {
        "modules": len(texts),
        "modules at the top": sum(len(path.parts) == 1 for path in texts),
        "file names in two folders": sum(count > 1 for count in names.values()),
        "DictConfig outside config/ and the commands": sum(
            len(re.findall(r"\bDictConfig\b", text)) for text in outside
        ),
        "# type: ignore": sum(text.count("# type: ignore") for text in texts.values()),
        f"functions over {LONGEST_FUNCTION} lines": sum(
            (node.end_lineno or 0) - node.lineno + 1 > LONGEST_FUNCTION for node in functions
        ),
        f"modules over {LONGEST_MODULE} lines": sum(text.count("\n") > LONGEST_MODULE for text in texts.values()),
        "lines": sum(text.count("\n") for text in texts.values()),
    }


def main() -> None:
    """Print the counts, one column per checkout."""
    checkouts = [Path(name) for name in sys.argv[1:]] or [Path(__file__).resolve().parent.parent]
    shapes = [shape(checkout) for checkout in checkouts]
    print(f"{'':46}" + "".join(f"{checkout.resolve().name:>12}" for checkout in checkouts))
    for name in shapes[0] | shapes[-1]:
        print(f"{name:46}" + "".join(f"{counts[name]:12,}" for counts in shapes))


if __name__ == "__main__":
    main()
