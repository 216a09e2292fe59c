"""``python -m sftdiv.regenerate``: rewrite every response of a corpus with one model, to equalise response quality.

The inputs are a Hydra config (``conf/regenerate.yaml``, shown by ``--help``) and an OpenAI-compatible
endpoint. The output is the folder ``outputs/regenerate/NAME-HASH/`` with ``corpus/`` (shards for
``corpus=files``), ``failures.jsonl``, ``answers.jsonl`` (the journal) and, last, ``provenance.json``. The
hash covers the requests but not the server's address, so that a run can resume with another server. The
journal grows as large as the corpus. It is kept because requests cost money: another ``limit`` or
``on_cut`` repeats none.
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

from sftdiv.config.app import conf_dir, ends_in_one_line, register_resolvers, run_app
from sftdiv.config.build_corpus_spec import build_corpus_spec
from sftdiv.config.compose import check_given
from sftdiv.config.instantiate import plain
from sftdiv.config.measurement import dataset_names
from sftdiv.config.setting_types import build_checked
from sftdiv.config.spec import CorpusSpec
from sftdiv.data.regenerate.rewriter import Rewriter
from sftdiv.data.regenerate.shards import DROP, FAILURES, KEEP, SHARDS
from sftdiv.llm.endpoint import Endpoint
from sftdiv.records import Corpus
from sftdiv.reporting.terminal import literal
from sftdiv.storage.folders import check_folder, user_path
from sftdiv.storage.hashing import content_hash
from sftdiv.storage.redaction import redacted_overrides, redacted_settings
from sftdiv.storage.validate import check_one_of, check_range

register_resolvers()
NAME = "regenerate"  # name of conf/regenerate.yaml and of the folder below paths.outputs
JOURNAL = "answers.jsonl"


def main() -> None:
    """Entry point of the command."""
    run_app(_app, config_name=NAME)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=NAME)
def _app(config: DictConfig) -> None:
    with ends_in_one_line(NAME):
        regenerate(config, list(HydraConfig.get().overrides.task))


def regenerate(config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Rewrite a corpus unless it is finished; print and return its provenance.

    Args:
        config: Composed ``conf/regenerate.yaml``.
        overrides: Overrides of the command.

    Raises:
        SftdivError: A setting is invalid, the corpus cannot be read, the server cannot be reached, or too
            many rows fail.
    """
    from sftdiv.data.regenerate.provenance import finished
    from sftdiv.pipeline.corpus_of_spec import load_corpus_of
    from sftdiv.storage.cache import Store

    endpoint, rewriter, corpus_spec = build_checked(check, config, overrides, NAME)
    cache = user_path(config.paths.cache, name="paths.cache")
    check_folder("paths.cache", cache)
    check_folder("paths.outputs", user_path(config.paths.outputs, name="paths.outputs"))
    endpoint.key()
    corpus = load_corpus_of(corpus_spec, Store(cache))
    limit = len(corpus) if config.limit is None else min(config.limit, len(corpus))
    form = {"limit": limit, "rows_per_shard": config.rows_per_shard, "on_cut": config.on_cut}
    folder = _folder(config, corpus, rewriter)
    record = finished(folder, form) or _rewrite(config, overrides, corpus, endpoint, rewriter, form, folder)
    show(record, folder)
    return record


def check(config: DictConfig, overrides: Sequence[str] = ()) -> tuple[Endpoint, Rewriter, CorpusSpec]:
    """Validate the settings before anything is read or requested.

    Args:
        config: Composed ``conf/regenerate.yaml``.
        overrides: Not read: every setting is in the config.

    Raises:
        SftdivError: A setting is invalid.
    """
    check_given(config)
    check_range("limit", config.limit, least=1, whole=True, optional=True)
    check_range("rows_per_shard", config.rows_per_shard, least=1, whole=True)
    check_one_of("on_cut", config.on_cut, (KEEP, DROP))
    check_range("max_failed", config.max_failed, least=0, most=1)
    endpoint: dict[str, Any] = plain(config.endpoint)
    rewriter = Rewriter(model=str(endpoint.pop("model")), system=config.system, **plain(config.sampling))
    for name in ("outputs", "cache"):
        user_path(config.paths[name], name=f"paths.{name}")
    return Endpoint(**endpoint), rewriter, build_corpus_spec(config.corpus)


def _folder(config: DictConfig, corpus: Corpus, rewriter: Rewriter) -> Path:
    """Output folder: readable names, and a hash of the corpus's content and of the settings that decide the answers."""
    from sftdiv.data.regenerate.provenance import LAYOUT

    key = {"corpus": corpus.fingerprint, "rewriter": rewriter.identity(), "layout": LAYOUT}
    names = f"{dataset_names([config.corpus])[0]}-{rewriter.model.rpartition('/')[2]}"
    name = re.sub(r"[^\w.+-]+", "_", names)[:100]
    return (
        user_path(config.paths.outputs, name="paths.outputs").absolute()
        / NAME
        / f"{name}-h{content_hash(key, length=6)}"
    )


def _rewrite(
    config: DictConfig,
    overrides: Sequence[str],
    corpus: Corpus,
    endpoint: Endpoint,
    rewriter: Rewriter,
    form: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """Send the missing requests, then write all files. Files of an earlier run stay until all requests are answered."""
    from sftdiv.data.regenerate.provenance import PROVENANCE, write_provenance
    from sftdiv.data.regenerate.shards import rows, write_shards
    from sftdiv.llm.batch_requests import run_requests, summary
    from sftdiv.llm.journal import Journal

    with Journal(folder / JOURNAL) as journal:
        questions = (rewriter.question(row["id"], row["messages"]) for row in rows(corpus, form["limit"]))
        models = run_requests(
            endpoint,
            questions,
            journal,
            total=form["limit"],
            max_failed=config.max_failed,
            label="rewriting",
            model=rewriter.model,
        )
        (folder / PROVENANCE).unlink(missing_ok=True)
        return write_provenance(
            folder,
            corpus=corpus,
            corpus_settings=redacted_settings(plain(config.corpus)),
            rewriter=rewriter.identity(),
            models=models,
            form=form,
            written=write_shards(corpus, journal, folder, **form),
            usage={**summary(journal.lines()), "calls": journal.calls},
            command=["python", "-m", "sftdiv.regenerate", *redacted_overrides(overrides)],
        )


def show(record: Mapping[str, Any], folder: Path) -> None:
    """Print the counts of a finished rewrite and the option that reads it."""
    tokens = record["asked"]["tokens"].get("completion_tokens")
    counts = {
        "rows": record["rows"],
        "rewritten": record["written"],
        f"cut at max_tokens, on_cut={record['form']['on_cut']}": record["cut"],
        "failed (retried by the same command)": record["failed"],
        "requests": record["asked"]["calls"],
        **({} if tokens is None else {"generated tokens": tokens}),
    }
    table = Table(title=literal(f"{record['rewriter']['model']}, {record['date']}"), show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in counts.items():
        table.add_row(literal(name), f"{value:,}")
    console = Console()
    console.print(table)
    if record["written"] < record["rows"]:
        console.print(f"rejected rows: {folder / FAILURES}", soft_wrap=True, markup=False, highlight=False)
    console.print(
        f"to use it: corpus=files corpus.path={folder / SHARDS}", soft_wrap=True, markup=False, highlight=False
    )


if __name__ == "__main__":
    main()
