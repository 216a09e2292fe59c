"""No two settings share a result: every setting of ``--cfg job`` either names the cell or is listed as one
that changes no result.

Generated over all settings: in each context below, every leaf of the composed config is changed in turn, and
the name of the cell is compared with the unchanged one.
"""

import copy
import json
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import pytest
from hydra.errors import InstantiationException
from hydra.utils import get_object
from omegaconf import OmegaConf

from sftdiv.config.build import build_request, build_spec
from sftdiv.config.compose import prepare
from sftdiv.config.from_python import compose_run
from sftdiv.config.setting_effects import WITHOUT_EFFECT, is_listed
from sftdiv.records import SftdivError
from sftdiv.storage.cell import flatten

# Settings that are inert in a context, because what would read them is not chosen there; another context
# shows their effect.
CORPUS = {
    "corpus.near.*": "read with corpus.dedup=near",
    "corpus.semantic.*": "read with corpus.dedup=semantic",
    "corpus.contamination.*": "read where there are items to search for",
    "corpus.ood_size": "read with corpus.ood",
    "corpus.heldout_similarity": "read with corpus.heldout_by=near",
    "corpus.length_band": "read by experiment=ablation_length",
    "corpus.prefer_long": "read by strategy/tagger=keyphrase",
}
SCRATCH = {
    "model.path": "refused for a model from scratch",
    "model.revision": "a model from scratch has none",
    "model.pretrain_share": "read with model.reads=corpus",
}
EVALUATION = {f"eval.{name}": "not read by the chosen options" for name in ("tasks", "include_path", "backend")}
EVALUATION |= {f"eval.{name}": "not read by eval=judge" for name in ("chat_template", "num_fewshot", "limit")}
PACKAGED = {"*embedder.revision": "the model comes from the installed package, and is known by its files"}
UNREAD = {
    "selection.quality": "read with selection.match=quality",
    "selection.group_by": "read with a max_per_group",
}
INERT = {
    "default": CORPUS
    | SCRATCH
    | {"eval.tasks": "read with eval=custom", "eval.include_path": "read with eval=custom"}
    | UNREAD,
    "perplexity": UNREAD,
    "coverage": UNREAD,
    "corpus": {"model.path": SCRATCH["model.path"], "model.revision": SCRATCH["model.revision"]},
    "files": CORPUS,
    "split": {"corpus.ood": "a repeated source counts once"},
    "contaminated": {"corpus.contamination.include_path": "read with corpus.contamination.tasks"},
    "keyphrase": PACKAGED,
    "instagger": PACKAGED,
    "topics": PACKAGED,
    "judge": EVALUATION,
    "minilm": PACKAGED,
}
CONTEXTS = {
    "default": ([], "*"),
    "near": (["corpus.dedup=near"], "corpus.near.*"),
    "semantic": (["corpus.dedup=semantic"], "corpus.semantic.*"),
    "perplexity": (["selector=perplexity"], "selection.*"),
    "coverage": (["selector=coverage"], "selection.*"),
    "contaminated": (["corpus.decontaminate=report"], "corpus.contamination.*"),
    "split": (["corpus.heldout_by=near", "corpus.ood=[a]"], "corpus.[oh]*"),
    "corpus": (["model=scratch_3m", "corpus=files", "eval=heldout"], "model.*"),
    "files": (["corpus=files"], "corpus.*"),
    "instagger": (["strategy=meso_tag", "strategy/tagger=instagger"], "strategy.*"),
    "keyphrase": (["strategy=meso_tag"], "strategy.*"),
    "topics": (["strategy=macro_topic"], "strategy.*"),
    "judge": (
        ["eval=judge", "judge.endpoint.base_url=http://localhost:1/v1", "judge.model=a", "prompts=heldout"],
        "[jpe][urv][doa][gml]*",
    ),
    "match": (
        ["selection.match=quality", "selection.quality=a", "selection.max_per_group=1", "selection.group_by=both"],
        "selection.*",
    ),
    "lora": (["train=lora"], "train.*"),
    "pretrained": (["model=smollm2_135m"], "model.*"),
    "minilm": (["embedder=minilm"], "embedder.*"),
    "novel_select": (["selector=novel_select"], "selection.selector.*"),
    "facility_location": (
        ["selector=facility_location", "selection.selector.quality=0.5", "selection.selector.column=source"],
        "selection.selector.*",
    ),
    "deita": (["selector=deita", "selection.selector.column=source"], "selection.selector.*"),
}


def changed_values(value):
    """Candidates for another value of a setting, the closest first."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value - 1, value + 1, 1] if value > 1 else [value + 1]
    if isinstance(value, float):
        return [value * 0.5, value + 0.25, 1.0, 0.5]
    if isinstance(value, list):
        return [[*value, *(value[-1:] or ["x"])], value[:-1], [1, 2]]
    if value is None:
        return [1, 0.5, "x", ["x"], True, [1, 2]]
    others = {
        "middle": ["low"], "sqrt": ["set_cover"], "presence": ["occurrences"],
        "support": ["sample"], "none": ["length"], "exact": ["none"], "error": ["skip"], "response": ["instruction"],
        "both": ["side"], "side": ["both"],
        "instruction": ["response"], "occurrences": ["documents"], "absolute": ["per_million"], "truncate": ["drop"],
        "all": ["last"], "cosine": ["linear"], "auto": ["words", "sdpa", 2, "alpaca"], "pair": ["instruction"],
        "words": ["characters"], "drop": ["own"], "32-true": ["64-true"], "own": ["random"], "null": [1],
        "paper": ["all"], "bfloat16": ["float32"], "cpu": ["auto"], "world": ["corpus"], "hf": ["vllm"],
    }  # fmt: skip
    return [*others.get(value, []), f"{value}x"]


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"instruction": f"Say {i}.", "output": f"{i}.", "tags": ["a"]} for i in range(20)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def names_after_changes(composed, overrides, pattern):
    """For each matching setting, the names of cells after it was changed to each value that is accepted;
    and the unchanged name."""

    original = composed(*overrides)

    def request(change=None):
        config = copy.deepcopy(original)
        if change is not None:
            OmegaConf.set_struct(config, False)
            OmegaConf.update(config, change[0], change[1], merge=False)
            OmegaConf.set_struct(config, True)
        prepare(config, overrides)
        return build_spec(config).cell("study", Path()).name

    unresolved = flatten(OmegaConf.to_container(original, resolve=False))
    resolved = flatten(OmegaConf.to_container(original, resolve=True))
    plain = {key: resolved[key] for key, value in unresolved.items() if not (isinstance(value, str) and "${" in value)}
    names = {}
    for key, value in plain.items():
        is_hydras = key.rpartition(".")[2].startswith("_")  # _target_ and the like: see the test of renamed classes
        if fnmatch(key, pattern) and not is_hydras:
            names[key] = set()
            for candidate in changed_values(value):
                if candidate == value:
                    continue
                try:
                    names[key].add(request((key, candidate)))
                    break
                except (
                    SftdivError,
                    AttributeError,
                    ValueError,
                    TypeError,
                    ImportError,
                    OSError,
                    InstantiationException,
                ):
                    continue  # a value that is refused shares no result
    return names, request()


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_changed_setting_is_another_cell_or_listed_as_without_effect(composed, pairs, context):
    overrides, pattern = CONTEXTS[context]
    if "corpus=files" in overrides:
        overrides = [*overrides, f"corpus.path={pairs}"]
    names, unchanged = names_after_changes(composed, overrides, pattern)
    assert len(names) >= 3
    inert = INERT.get(context, {})
    shared = sorted(key for key, changed in names.items() if unchanged in changed)
    unlisted = [key for key in shared if not is_listed(key, WITHOUT_EFFECT) and not is_listed(key, inert)]
    assert not unlisted, f"these settings change and share a cell: {', '.join(unlisted)}"
    wrongly = [
        key for key, changed in names.items() if changed and unchanged not in changed and is_listed(key, WITHOUT_EFFECT)
    ]
    assert not wrongly, f"listed as without effect, but they name another cell: {', '.join(wrongly)}"


def test_the_taggers_arithmetic_is_part_of_the_cell_and_of_the_units():
    """The fault that made two sets of tags one cell: what decides the units was not in the cell's name."""
    tagger = ["strategy=meso_tag", "strategy/tagger=instagger"]
    specs = [compose_run([*tagger, f"strategy.units.tagger.dtype={dtype}"]) for dtype in ("bfloat16", "float32")]
    assert specs[0].single_cell().name != specs[1].single_cell().name
    assert specs[0].spec.strategy.identity() != specs[1].spec.strategy.identity()


def test_what_is_not_read_names_no_cell():
    names = {compose_run([f"corpus.near.threshold={threshold}"]).single_cell().name for threshold in (0.7, 0.8)}
    assert len(names) == 1
    near = [compose_run(["corpus.dedup=near", f"corpus.near.threshold={threshold}"]) for threshold in (0.7, 0.8)]
    assert near[0].single_cell().name != near[1].single_cell().name
    selecting = {
        compose_run(["stop_after=select", f"train.schedule={name}"]).single_cell().name for name in ("cosine", "linear")
    }
    assert len(selecting) == 1


def test_a_renamed_class_renames_no_cell(composed, monkeypatch):
    """Every class that a config names, under another name in another module of the package: the same cells."""
    for overrides in ([], ["strategy=macro_topic"], ["strategy=meso_tag"], ["corpus.dedup=near"], ["train=lora"]):
        config = composed(*overrides)
        settings = flatten(OmegaConf.to_container(config))
        targets = {key: value for key, value in settings.items() if key.endswith("_target_")}
        module = ModuleType("sftdiv.renamed")
        for number, target in enumerate(sorted(set(targets.values()))):
            renamed = type(f"Renamed{number}", (get_object(target),), {"__module__": module.__name__})
            setattr(module, renamed.__name__, renamed)
            for key in (key for key, value in targets.items() if value == target):
                OmegaConf.update(config, key, f"{module.__name__}.{renamed.__name__}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        prepare(config, overrides)
        assert build_request(config).single_cell().name == compose_run(overrides).single_cell().name, overrides


FILES = ["corpus=files", "eval=heldout"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["selection.slack=2"], ["selection.slack=2.0"]),
        ([*FILES, "selection.sources=[a,b]"], [*FILES, "selection.sources=[b,a]"]),
    ],
)
def test_two_ways_to_write_one_setting_share_a_cell(pairs, first, second):
    path = f"corpus.path={pairs}"
    cells = [
        compose_run([*overrides, path] if "corpus=files" in overrides else overrides).single_cell().name
        for overrides in (first, second)
    ]
    assert cells[0] == cells[1]


def test_a_folder_named_like_a_builtin_tokenizer_renames_no_cell(pairs, tmp_path):
    overrides = [*FILES, f"corpus.path={pairs}", "strategy.tokenizer=words"]
    before = compose_run(overrides).single_cell().name
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "tokenizer.json").write_text("{}")
    assert compose_run(overrides).single_cell().name == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["selection.slack=inf"], "selection.slack=inf must be a number"),
        (["model.name=../x"], "must not contain a slash"),
        (["strategy=random", "selection.universe=macro_topic", "embedder=none"], "universe=macro_topic clusters"),
    ],
)
def test_refused_before_anything_is_named(overrides, message):
    with pytest.raises(SftdivError, match=message):
        compose_run(overrides)
