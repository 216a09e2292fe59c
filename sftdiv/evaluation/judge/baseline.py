"""Whom a judge compares the model with.

In: ``judge.baseline`` as the user wrote it. Out: the baseline's name and its answers to the
prompts, or the model that will write them: the base model before fine-tuning, another cell, the
level-0.5 cell of the same ladder, a file of outputs, or the answers that came with the prompts. All
but the writing is looked at before anything is trained. The trade: answers of the base model are
kept in the artifact store, since every cell of a study is compared with the same ones.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sftdiv.evaluation.judge.answers import FILE, Generation, Replies, read_answers, write_answers
from sftdiv.evaluation.judge.prompt import Prompt
from sftdiv.evaluation.judge.prompt_files import read_rows
from sftdiv.protocols import EvalContext
from sftdiv.records import SftdivError
from sftdiv.storage.cache import MANIFEST
from sftdiv.storage.cell import RESULT
from sftdiv.storage.hashing import content_hash, folder_identity

KNOWN = "base, reference, level:0.5, the name (or a pattern such as random-*) of a cell of this study, a cell's folder, or a FILE of outputs"
ANSWERS = Path("evaluation", "judge", FILE)  # of a cell
SHOWN = 3  # prompts without an answer that a message names


@dataclass(frozen=True)
class Baseline:
    """Its ``name``, and either its ``replies`` or the ``cell`` that holds its model; neither: the base model. ``own``: the cell itself."""

    name: str
    replies: Replies | None = None
    cell: Path | None = None
    own: bool = False


def find_baseline(setting: str, prompts: Sequence[Prompt], exam: EvalContext) -> Baseline:
    """The baseline that a setting names.

    Args:
        setting: ``base``, ``reference``, ``level:X``, a cell's name, pattern or folder, or a file.
        prompts: What is asked.
        exam: Of the run.

    Raises:
        SftdivError: There is none, there are several, or it lacks an answer.
    """
    path = Path(setting).expanduser()
    if setting == "base":
        return Baseline("base")
    if setting == "reference":
        return Baseline(
            "reference",
            _complete({prompt.key: prompt.references for prompt in prompts if prompt.references}, prompts, setting),
        )
    if setting.startswith("level:"):
        return _cell(_level(setting, exam), exam)
    if path.is_file():
        return _file(path, prompts)
    if (path / "model").is_dir():
        return _cell(path.absolute(), exam)
    found = [] if path.is_absolute() else sorted(place.parent for place in exam.study.glob(f"{setting}/{RESULT}"))
    if not found and Path(exam.cell).match(setting):
        return Baseline(exam.cell, own=True)
    if len(found) != 1:
        several = (
            f"names {len(found)} cells: {', '.join(place.name for place in found)}"
            if found
            else f"is no finished cell of {exam.study}"
        )
        raise SftdivError(
            f"judge.baseline={setting} {several}. It may be {KNOWN}; a cell must be run before it is compared with"
        )
    return _cell(found[0], exam)


def baseline_answers(
    baseline: Baseline, prompts: Sequence[Prompt], checkpoint: Path, exam: EvalContext, *, generation: Generation
) -> Replies | None:
    """The baseline's answers, read where they are and else written by its model; None for the cell itself.

    Args:
        baseline: From `find_baseline`.
        prompts: What is asked.
        checkpoint: The fine-tuned model: the base model is asked in its chat format, for it may
            have none of its own.
        exam: Of the run.
        generation: How answers are written.
    """
    if baseline.own or baseline.replies is not None:
        return baseline.replies
    if baseline.cell is not None:
        there = read_answers(baseline.cell / ANSWERS, prompts, generation=generation, max_length=exam.max_length)
        if there is not None:
            return there
    model: Path | str = exam.base() if baseline.cell is None else baseline.cell / "model"
    tokenizer = checkpoint if baseline.cell is None else baseline.cell / "model"
    key = {
        "model": model_identity(model) if baseline.cell or Path(model).is_dir() else [str(model), exam.revision],
        "tokenizer": content_hash(
            [_text(tokenizer / name) for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")]
        ),
        "prompts": sorted(prompt.key for prompt in prompts),
        "generation": generation.identity(max_length=exam.max_length),
    }
    how: dict[str, Any] = {"generation": generation, "max_length": exam.max_length, "device": exam.device}
    how |= {"revision": exam.revision} if baseline.cell is None else {}

    def build(folder: Path, partial: Path) -> None:
        write_answers(model, tokenizer, prompts, partial / FILE, **how)
        shutil.copyfile(partial / FILE, folder / FILE)

    kept = exam.keep("answers", key, build)
    written = read_answers(kept / FILE, prompts, generation=generation, max_length=exam.max_length)
    if written is None:
        raise SftdivError(
            f"{kept / FILE} lacks answers of {baseline.name} to these prompts; delete its folder, and they are written again"
        )
    return written


def model_identity(model: Path | str) -> str:
    """What names a model's content: of a folder its files (the store's checksums where it has them), else the hub id."""
    folder = Path(model)
    if not folder.is_dir():
        return str(model)
    manifest = folder / MANIFEST
    return (
        content_hash(json.loads(manifest.read_text(encoding="utf-8"))["files"])
        if manifest.exists()
        else folder_identity(folder)
    )


def _cell(folder: Path, exam: EvalContext) -> Baseline:
    """The cell itself, or another, which must have a model, or answers of one."""
    if folder.name == exam.cell:
        return Baseline(exam.cell, own=True)
    if not (folder / "model").is_dir() and not (folder / ANSWERS).is_file():
        raise SftdivError(
            f"judge.baseline: {folder} holds no model (was it run with stop_after=select?) and no {ANSWERS.as_posix()}"
        )
    return Baseline(folder.name, cell=folder)


def _level(setting: str, exam: EvalContext) -> Path:
    """The cell at a level of this cell's own ladder: same strategy, side, size, model, corpus, match and seed."""
    try:
        level = float(setting.removeprefix("level:"))
    except ValueError:
        raise SftdivError(f"judge.baseline={setting} must name a level, such as level:0.5") from None
    config = yaml.safe_load((exam.folder.parent / "config.yaml").read_text(encoding="utf-8"))
    if float(config["diversity_level"]) == level:
        return exam.folder.parent
    own = _ladder(config)
    rows = {
        place.parent: json.loads(place.read_text(encoding="utf-8")) for place in sorted(exam.study.glob(f"*/{RESULT}"))
    }
    found = [
        folder
        for folder, row in rows.items()
        if row.get("level") == level and all(row.get(name) == own[name] for name in own)
    ]
    if len(found) != 1:
        wanted = ", ".join(f"{name}={value}" for name, value in own.items())
        what = (
            f"{len(found)} finished cells ({', '.join(folder.name for folder in found)})"
            if found
            else "no finished cell"
        )
        raise SftdivError(
            f"judge.baseline={setting}: {exam.study} holds {what} with level={level:g}, {wanted}; run diversity_level={level:g} first, "
            "in the same study (study=NAME), or name the cell"
        )
    return found[0]


def _ladder(config: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row that the cells of one ladder and seed have in common."""
    size = config["size"]
    return {
        "strategy": config["strategy"]["name"],
        "side": config["strategy"]["side"],
        "size": size["n"] if size["label_tokens"] in (None, "auto") else size["label_tokens"],
        "budget": "examples" if size["label_tokens"] is None else "tokens",
        "match": config["selection"]["match"],
        "universe_of": config["selection"]["universe"],
        "model": config["model"]["name"],
        "corpus": config["corpus"]["name"],
        "seed": config["seed"],
    }


def _file(path: Path, prompts: Sequence[Prompt]) -> Baseline:
    """Outputs as AlpacaEval keeps them: ``{"instruction", "output", "generator"}``, found by the instruction."""
    rows = read_rows(path)
    outputs: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        output = row.get("output", row.get("response"))
        if not isinstance(row.get("instruction"), str) or not isinstance(output, str):
            raise SftdivError(
                f"{path}, entry {number}: an instruction and an output are needed; it has {', '.join(row) or 'nothing'}"
            )
        outputs.setdefault(row["instruction"].strip(), output)
    told = {prompt.key: outputs.get(prompt.instruction.strip()) for prompt in prompts}
    replies = {key: (output,) for key, output in told.items() if output is not None}
    generators = {str(row["generator"]) for row in rows if row.get("generator")}
    return Baseline(generators.pop() if len(generators) == 1 else path.stem, _complete(replies, prompts, str(path)))


def _complete(replies: Replies, prompts: Sequence[Prompt], setting: str) -> Replies:
    """The answers, if there is one to every prompt."""
    missing = [prompt.instruction for prompt in prompts if prompt.key not in replies]
    if missing:
        named = "; ".join(f"{text[:80]!r}" for text in missing[:SHOWN])
        raise SftdivError(
            f"judge.baseline={setting} has no answer to {len(missing)} of {len(prompts)} prompts: {named}{' ...' * (len(missing) > SHOWN)}"
        )
    return replies


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
