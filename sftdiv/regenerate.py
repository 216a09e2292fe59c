"""``python -m sftdiv.regenerate``: rewrite every response of a corpus with one model, so that responses no longer differ in quality.

A Hydra config (``conf/regenerate.yaml``; ``--help`` shows it) and an OpenAI-compatible endpoint become
``outputs/regenerate/NAME-HASH/`` with ``corpus/`` (shards that ``corpus=files`` reads),
``failures.jsonl``, ``answers.jsonl`` (the journal) and, last, ``provenance.json``. The folder is named by
the requests; the address of the server is no part of that, so that a run can resume with another server.
The journal is kept, as large as the corpus, since it holds what was paid for: another ``limit`` or
``on_cut`` repeats no request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from sftdiv.config.app import conf_dir, register_resolvers, run_app
from sftdiv.config.build import build_corpus_spec, plain
from sftdiv.config.compose import check_given
from sftdiv.config.measurement import dataset_names
from sftdiv.data.regenerate.rewriter import Rewriter
from sftdiv.data.regenerate.shards import DROP, FAILURES, KEEP, SHARDS
from sftdiv.llm.endpoint import Endpoint
from sftdiv.records import Corpus
from sftdiv.storage.hashing import content_hash
from sftdiv.storage.validate import check_one_of, check_range

register_resolvers()
NAME = "regenerate"  # of conf/regenerate.yaml and of the folder below paths.outputs
LEDGER = "answers.jsonl"


def main() -> None:
    """The command."""
    run_app(_app, config_name=NAME)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=NAME)
def _app(config: DictConfig) -> None:
    regenerate(config, list(HydraConfig.get().overrides.task))


def regenerate(config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Rewrite a corpus, unless that is done; show and return its provenance.

    Args:
        config: ``conf/regenerate.yaml``, composed.
        overrides: The overrides that it was composed with.

    Raises:
        SftdivError: If a setting is wrong, the corpus cannot be read, the server cannot be reached,
            or too many rows fail.
    """
    from sftdiv.data.regenerate.provenance import finished
    from sftdiv.pipeline.artifacts import load_corpus_of
    from sftdiv.storage.cache import Store

    endpoint, rewriter = check(config)
    endpoint.key()
    corpus = load_corpus_of(build_corpus_spec(config.corpus), Store(Path(config.paths.cache).expanduser()))
    limit = len(corpus) if config.limit is None else min(config.limit, len(corpus))
    form = {"limit": limit, "rows_per_shard": config.rows_per_shard, "on_cut": config.on_cut}
    folder = _folder(config, corpus, rewriter)
    record = finished(folder, form) or _rewrite(config, overrides, corpus, endpoint, rewriter, form, folder)
    show(record, folder)
    return record


def check(config: DictConfig) -> tuple[Endpoint, Rewriter]:
    """Refuse what cannot be right before anything is read or requested.

    Raises:
        SftdivError: With the setting, its value and the alternatives.
    """
    check_given(config)
    check_range("limit", config.limit, least=1, whole=True, optional=True)
    check_range("rows_per_shard", config.rows_per_shard, least=1, whole=True)
    check_one_of("on_cut", config.on_cut, (KEEP, DROP))
    check_range("max_failed", config.max_failed, least=0, most=1)
    endpoint: dict[str, Any] = plain(config.endpoint)
    rewriter = Rewriter(model=str(endpoint.pop("model")), system=config.system, **plain(config.sampling))
    return Endpoint(**endpoint), rewriter


def _folder(config: DictConfig, corpus: Corpus, rewriter: Rewriter) -> Path:
    """The output folder: readable names, and a hash of the corpus's content and of all that decides the answers."""
    from sftdiv.data.regenerate.provenance import LAYOUT

    key = {"corpus": corpus.fingerprint, "rewriter": rewriter.identity(), "layout": LAYOUT}
    names = f"{dataset_names([config.corpus])[0]}-{rewriter.model.rpartition('/')[2]}"
    name = re.sub(r"[^\w.+-]+", "_", names)[:100]
    return Path(config.paths.outputs).expanduser().absolute() / NAME / f"{name}-h{content_hash(key, length=6)}"


def _rewrite(
    config: DictConfig,
    overrides: Sequence[str],
    corpus: Corpus,
    endpoint: Endpoint,
    rewriter: Rewriter,
    form: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """Ask what is missing and write all files; what an earlier run wrote stays until everything is asked."""
    from sftdiv.data.regenerate.provenance import PROVENANCE, write_provenance
    from sftdiv.data.regenerate.shards import rows, write_shards
    from sftdiv.llm.batch_requests import run_requests, summary
    from sftdiv.llm.journal import Journal

    with Journal(folder / LEDGER) as ledger:
        questions = (rewriter.question(row["id"], row["messages"]) for row in rows(corpus, form["limit"]))
        models = run_requests(
            endpoint,
            questions,
            ledger,
            total=form["limit"],
            max_failed=config.max_failed,
            label="rewriting",
            model=rewriter.model,
        )
        (folder / PROVENANCE).unlink(missing_ok=True)
        return write_provenance(
            folder,
            corpus=corpus,
            corpus_settings=plain(config.corpus),
            rewriter=rewriter.identity(),
            models=models,
            form=form,
            written=write_shards(corpus, ledger, folder, **form),
            usage={**summary(ledger.lines()), "calls": ledger.calls},
            command=["python", "-m", "sftdiv.regenerate", *overrides],
        )


def show(record: Mapping[str, Any], folder: Path) -> None:
    """What was made of how much, and how to use it."""
    tokens = record["asked"]["tokens"].get("completion_tokens")
    told = {
        "rows": record["rows"],
        "rewritten": record["written"],
        f"cut at max_tokens, on_cut={record['form']['on_cut']}": record["cut"],
        "failed (the same command asks them again)": record["failed"],
        "requests": record["asked"]["calls"],
        **({} if tokens is None else {"tokens written": tokens}),
    }
    table = Table(title=f"{record['rewriter']['model']}, {record['date']}", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in told.items():
        table.add_row(name, f"{value:,}")
    console = Console()
    console.print(table)
    if record["written"] < record["rows"]:
        console.print(f"left out, and why: {folder / FAILURES}", soft_wrap=True, markup=False, highlight=False)
    console.print(
        f"use it by: corpus=files corpus.path={folder / SHARDS}", soft_wrap=True, markup=False, highlight=False
    )


if __name__ == "__main__":
    main()
