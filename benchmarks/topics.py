"""Topics of 117,000 real instructions by four clusterers: time, memory, noise, stability, agreement with ``task``.

    python benchmarks/topics.py POOL              # clusterers as in conf/strategy/clusterer
    python benchmarks/topics.py POOL trial        # the first trial: packages with their defaults, LSA
    python benchmarks/topics.py POOL search       # other settings
    python benchmarks/topics.py POOL CASE ...     # single cases of the above

POOL is ../shared/data/pool-117k.parquet. Each case is a separate process: embeddings are cached, a small
part is clustered first (so that kernels are compiled), then all distinct instructions. The results are
merged into benchmarks/topics/results.json, and README.md there is written from them.

Agreement is adjusted mutual information with ``task`` over examples: (i) those whose source is not
AlpacaEval (whose ``task`` is the answering model), with noise as a label of its own; (ii) the same, with
noise in the nearest topic; (iii) the clustered examples of all sources.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from sftdiv.config.from_python import compose_run
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.storage.cache import Store
from sftdiv.text.string_columns import distinct_by_digest
from sftdiv.units.clustering.kmeans import mean_directions
from sftdiv.units.clustering.stability import Stability
from sftdiv.units.topics import by_size, with_noise

HERE = Path(__file__).parent / "topics"
RESULTS = HERE / "results.json"
PART = 3_000  # instructions of the first, uncounted pass
LSA = ["embedder=lsa", "embedder.dimensions=256"]
BERTOPIC = ["min_cluster_size=10", "min_samples=10", "neighbours=15", "epochs=200"]
CASES: dict[str, dict[str, list[str]]] = {
    "default": {
        name: ["embedder=minilm", f"strategy/clusterer={name}"]
        for name in ("umap_hdbscan", "evoc", "kmeans", "hdbscan")
    },
    "trial": {
        "trial umap-learn hdbscan": [*LSA, "strategy/clusterer=umap_hdbscan"],
        "trial evoc": [*LSA, "strategy/clusterer=evoc"],
        "ours, settings of BERTopic, lsa": [*LSA, "strategy/clusterer=umap_hdbscan", *BERTOPIC],
        "ours, settings of BERTopic, minilm": ["embedder=minilm", "strategy/clusterer=umap_hdbscan", *BERTOPIC],
        "ours umap_hdbscan lsa": [*LSA, "strategy/clusterer=umap_hdbscan"],
        "ours kmeans lsa": [*LSA, "strategy/clusterer=kmeans"],
        "ours evoc lsa": [*LSA, "strategy/clusterer=evoc"],
    },
    "search": {
        **{
            f"kmeans {k}": ["embedder=minilm", "strategy/clusterer=kmeans", f"clusters={k}"]
            for k in (50, 150, 200, 300, 400)
        },
        **{
            f"umap_hdbscan n{n} size{size} samples{samples}": [
                "embedder=minilm",
                "strategy/clusterer=umap_hdbscan",
                f"neighbours={n}",
                f"min_cluster_size={size}",
                f"min_samples={samples}",
            ]
            for n, size, samples in (
                (15, 10, 10), (15, 50, 5), (15, 100, 10), (30, 50, 5),
                (30, 100, 5), (50, 50, 5), (50, 100, 1), (50, 200, 5),
            )
        },
        **{
            f"evoc noise{level}": ["embedder=minilm", "strategy/clusterer=evoc", f"noise_level={level}"]
            for level in (0.0, 0.25, 0.75)
        },
        "kmeans on lsa": ["embedder=lsa", "strategy/clusterer=kmeans"],
        "kmeans on lsa with function words": ["embedder=lsa", "embedder.max_share=0.5", "strategy/clusterer=kmeans"],
        "evoc size50": ["embedder=minilm", "strategy/clusterer=evoc", "min_cluster_size=50"],
    },
}  # fmt: skip


@dataclass(frozen=True)
class UmapLearn:
    """umap-learn and hdbscan as BERTopic 0.17 calls them, with a seed."""

    seed: int = 0

    def cluster(self, vectors: Any) -> Any:  # noqa: D102
        from hdbscan import HDBSCAN
        from umap import UMAP

        places = UMAP(
            n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine", random_state=self.seed, n_jobs=1
        ).fit_transform(vectors)
        return np.asarray(
            HDBSCAN(min_cluster_size=10, metric="euclidean", cluster_selection_method="eom").fit_predict(places)
        )


@dataclass(frozen=True)
class EvocAsItComes:
    """The package with its defaults, on all cores."""

    seed: int = 0

    def cluster(self, vectors: Any) -> Any:  # noqa: D102
        from evoc import EVoC

        return np.asarray(EVoC(random_state=self.seed).fit_predict(vectors)).astype(np.int64)


AS_THEY_COME = {"trial umap-learn hdbscan": UmapLearn(), "trial evoc": EvocAsItComes()}


def measured(pool: str, case: str, settings: list[str]) -> dict[str, Any]:
    """One row of the table."""
    names = ["corpus=files", f"corpus.path={pool}", "corpus.columns=[task]", "model=scratch_3m", "strategy=macro_topic"]
    own = [
        text if text.startswith(("embedder", "strategy")) else f"strategy.units.clusterer.{text}" for text in settings
    ]
    request = compose_run([*names, *own])
    artifacts = RunArtifacts(request.spec, Store(request.paths.cache)).data
    extractor: Any = request.spec.strategy.extractor
    first, row = distinct_by_digest(artifacts.texts("instruction"))
    vectors = artifacts.embeddings("instruction")[first]
    placed = np.flatnonzero(vectors.any(axis=1))
    vectors = vectors[placed]
    clusterer: Any = AS_THEY_COME.get(case) or extractor.clusterer
    clusterer.cluster(vectors[:PART])
    before, load, wall, cpu = _peak(), os.getloadavg()[0], time.perf_counter(), time.process_time()
    found = by_size(clusterer.cluster(vectors))
    seconds = {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "load": max(load, os.getloadavg()[0]),
    }
    memory = {"peak_gib": _peak(), "peak_before_gib": before}
    stability = {} if case in AS_THEY_COME else Stability(seeds=3, sample=10_000, share=0.8).measure(clusterer, vectors)
    tasks = np.array(artifacts.corpus.column("task")), np.array(artifacts.corpus.column("source"))
    return {
        **seconds,
        **memory,
        **agreement(vectors, placed, row, found, *tasks),
        **{f"stability_{n}": v for n, v in stability.items()},
    }


def agreement(vectors: Any, placed: Any, row: Any, found: Any, task: Any, source: Any) -> dict[str, float]:
    """Topics, noise among the examples, and the three figures of agreement."""
    from sklearn.metrics import adjusted_mutual_info_score

    centres = mean_directions(vectors, found, np.zeros((found.max() + 1, vectors.shape[1]), dtype=np.float32))
    noise_own, noise_near = np.full((2, row.max() + 1), -1)
    noise_own[placed], noise_near[placed] = found, with_noise(vectors, found, centres, noise="nearest")
    known = ~np.char.startswith(source.astype(str), "alpacaeval")
    clustered = noise_own[row] >= 0
    return {
        "topics": int(found.max()) + 1,
        "largest_share": float(np.mean(noise_own[row] == 0)),
        "noise": float(1 - clustered.mean()),
        "ami_noise_own": float(adjusted_mutual_info_score(task[known], noise_own[row][known])),
        "ami_noise_nearest": float(adjusted_mutual_info_score(task[known], noise_near[row][known])),
        "ami_clustered": float(adjusted_mutual_info_score(task[clustered], noise_own[row][clustered])),
    }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


COLUMNS = {
    "wall_s": ("s", "{:.0f}"), "cpu_s": ("CPU s", "{:.0f}"), "load": ("load", "{:.0f}"),
    "peak_gib": ("GiB", "{:.2f}"), "topics": ("topics", "{:,}"),
    "noise": ("noise", "{:.1%}"), "ami_noise_own": ("AMI (i)", "{:.3f}"), "ami_noise_nearest": ("(ii)", "{:.3f}"),
    "ami_clustered": ("(iii)", "{:.3f}"), "stability_ari": ("ARI", "{:.2f}"), "stability_ami": ("AMI", "{:.2f}"),
    "stability_ari_with_noise": ("ARI, noise", "{:.2f}"), "stability_ami_with_noise": ("AMI, noise", "{:.2f}"),
}  # fmt: skip


def table(results: dict[str, dict[str, Any]], group: str) -> list[str]:
    """A group of cases as a Markdown table."""
    lines = [
        "| case | " + " | ".join(title for title, _ in COLUMNS.values()) + " |",
        "| --- " * (len(COLUMNS) + 1) + "|",
    ]
    for case in CASES[group]:
        if case in results:
            cells = (
                form.format(results[case][name]) if results[case].get(name) is not None else ""
                for name, (_, form) in COLUMNS.items()
            )
            lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return lines


def write_readme(results: dict[str, dict[str, Any]]) -> None:
    """Write README.md: the text of head.md with a table in place of each TABLE line."""
    text = (HERE / "head.md").read_text(encoding="utf-8")
    for group in CASES:
        text = text.replace(f"TABLE {group}", "\n".join(table(results, group)))
    (HERE / "README.md").write_text(text, encoding="utf-8")


def main() -> None:
    pool, *wanted = sys.argv[1:]
    cases = {case: settings for group in CASES.values() for case, settings in group.items()}
    if wanted[:1] == ["--case"]:
        print(json.dumps(measured(pool, wanted[1], cases[wanted[1]])))
        return
    chosen = [case for name in wanted or ["default"] for case in CASES.get(name, {name: []})]
    for case in chosen:
        run = subprocess.run(
            [sys.executable, __file__, pool, "--case", case], stdout=subprocess.PIPE, text=True, check=True
        )
        results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        made = {
            "date": date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "settings": cases[case],
        }
        results[case] = {**json.loads(run.stdout.splitlines()[-1]), **made}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(case, results[case], flush=True)
    write_readme(json.loads(RESULTS.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
