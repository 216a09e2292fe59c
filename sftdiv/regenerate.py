"""``python -m sftdiv.regenerate``: rewrite every response of a corpus with one model, so that its responses differ in quality no more.

In: a Hydra config (``conf/regenerate.yaml``; ``--help`` shows it) and an OpenAI-compatible
endpoint. Out: ``outputs/regenerate/NAME-HASH/`` with ``corpus/`` (shards that ``corpus=files``
reads), ``failures.jsonl``, ``answers.jsonl`` (the ledger) and, last, ``provenance.json``. The
folder is named by what is asked of whom about what; the address is no part of that, so that a run
can go on at another server. The trade: the ledger is kept, as large as the corpus, since it holds
what was paid for: another ``limit`` or ``on_cut`` asks nothing twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from sftdiv.config.app import conf_dir, register_resolvers, run_app
from sftdiv.config.compose import check_given
from sftdiv.data.regenerate.rewriter import Rewriter
from sftdiv.data.regenerate.shards import DROP, FAILURES, KEEP, SHARDS
from sftdiv.llm.endpoint import Endpoint
from sftdiv.records import Corpus, SftdivError
from sftdiv.storage.hashing import content_hash

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
        overrides: What it was composed with beside the defaults.

    Raises:
        SftdivError: If a setting is wrong, the corpus cannot be read, the server cannot be reached,
            or too many rows fail.
    """
    from sftdiv.data.regenerate.provenance import finished
    from sftdiv.pipeline.artifacts import Artifacts
    from sftdiv.storage.cache import Store

    endpoint, rewriter = check(config)
    endpoint.key()
    corpus = Artifacts(config, Store(Path(config.paths.cache).expanduser())).corpus
    limit = len(corpus) if config.limit is None else min(config.limit, len(corpus))
    form = {"limit": limit, "rows_per_shard": config.rows_per_shard, "on_cut": config.on_cut}
    folder = place(config, corpus, rewriter)
    record = finished(folder, form) or _rewritten(config, overrides, corpus, endpoint, rewriter, form, folder)
    show(record, folder)
    return record


def check(config: DictConfig) -> tuple[Endpoint, Rewriter]:
    """Refuse what cannot be right before anything is read or asked.

    Raises:
        SftdivError: With the setting, its value and what it may be.
    """
    check_given(config)
    for name in ("limit", "rows_per_shard"):
        value = config[name]
        if value is not None and (not isinstance(value, int) or value < 1):
            raise SftdivError(f"{name}={value!r} must be a whole number of at least 1")
    if config.on_cut not in (KEEP, DROP):
        raise SftdivError(f"on_cut={config.on_cut!r} is unknown. Known: {KEEP}, {DROP}")
    if not 0 <= config.max_failed <= 1:
        raise SftdivError(f"max_failed={config.max_failed!r} must be a share, between 0 and 1")
    where: dict[str, Any] = OmegaConf.to_container(config.endpoint, resolve=True)  # type: ignore[assignment]
    sampling: dict[str, Any] = OmegaConf.to_container(config.sampling, resolve=True)  # type: ignore[assignment]
    rewriter = Rewriter(model=str(where.pop("model")), system=config.system, **sampling)
    return Endpoint(**where), rewriter


def place(config: DictConfig, corpus: Corpus, rewriter: Rewriter) -> Path:
    """The folder: names to read, and a hash of the corpus's content and of all that decides the answers."""
    from sftdiv.config.measure_spec import dataset_names
    from sftdiv.data.regenerate.provenance import LAYOUT

    made = content_hash({"corpus": corpus.fingerprint, "rewriter": rewriter.identity(), "layout": LAYOUT}, length=6)
    name = re.sub(r"[^\w.+-]+", "_", f"{dataset_names([config])[0]}-{rewriter.model.rpartition('/')[2]}")[:100]
    return Path(config.paths.outputs).expanduser().absolute() / NAME / f"{name}-h{made}"


def _rewritten(
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
            corpus_settings=OmegaConf.to_container(config.corpus, resolve=True),  # type: ignore[arg-type]
            rewriter=rewriter.identity(),
            models=models,
            form=form,
            made=write_shards(corpus, ledger, folder, **form),
            asked={**summary(ledger.lines()), "calls": ledger.calls},
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
