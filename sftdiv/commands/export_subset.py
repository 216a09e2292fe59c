"""``sftdiv export CELL --format FORMAT``: the subset of a finished cell in the format of another training program.

The same export as ``export.format`` of the cell's own command, without that command: nothing is selected or trained.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sftdiv.records import SftdivError
from sftdiv.release.export.write_export import FORMATS
from sftdiv.storage.cell import RESULT, SUBSET, Cell, checked_row
from sftdiv.storage.closed_output import outlive_readers


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command_line = argparse.ArgumentParser(
        prog="sftdiv export",
        description="Write the subset of a finished cell in another program's format, with its entries for "
        "LLaMA-Factory (dataset_info.json) and axolotl (axolotl.yaml), and lineage.json.",
    )
    command_line.add_argument("cell", type=Path, help="folder of the cell, e.g. outputs/single/NAME")
    command_line.add_argument("--format", required=True, choices=FORMATS, help="format of the data file")
    command_line.add_argument("--folder", type=Path, help="output folder (default: export/ in the cell's folder)")
    command_line.add_argument("--name", help="name of the dataset (default: the cell's name)")
    return command_line


def main(arguments: list[str] | None = None) -> int:
    """Export a subset and print the paths of the files; gives the exit code."""
    outlive_readers()
    options = parser().parse_args(arguments)
    try:
        written = export_subset(options.cell, format=options.format, out=options.folder, name=options.name)
    except SftdivError as error:
        print(f"sftdiv: {error}", file=sys.stderr)
        return 1
    print("\n".join(map(str, written)))
    return 0


def export_subset(folder: Path, *, format: str, out: Path | None, name: str | None) -> list[Path]:
    """Export the subset of a finished cell.

    Args:
        folder: Folder of the cell.
        format: One of ``FORMATS``.
        out: Output folder; None for ``export/`` in the cell's folder.
        name: Name of the dataset; None for the cell's name.

    Returns:
        The files written, the data file first.

    Raises:
        SftdivError: The folder holds no finished cell with a subset, or the subset cannot be exported.
    """
    from sftdiv.config.run_request import ExportSpec
    from sftdiv.pipeline.export import export_cell
    from sftdiv.storage.folders import check_folder

    row = checked_row(folder, needed=[SUBSET])
    if row is None:
        raise SftdivError(
            f"{folder} is no finished cell (it holds no {RESULT}); give a cell's folder, such as "
            "outputs/single/NAME, which a run prints as 'files'"
        )
    if not row["n"]:
        raise SftdivError(f"{folder} has no subset to export: it is a base model's cell (size=none)")
    export = ExportSpec(format=format, folder=out, name=name)
    check_folder("--folder", out or folder)
    return export_cell(export, Cell(str(row["study"]), folder.name, folder, ""), row)


if __name__ == "__main__":
    sys.exit(main())
