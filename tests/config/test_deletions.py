"""``~setting``: refused with what turns the setting off, whatever it is."""

import pytest

from sftdiv.config.app import refuse_deletions
from sftdiv.config.from_python import compose_run
from sftdiv.records import SftdivError


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("~tracking", r"tracking was deleted \(~tracking\); it is needed: tracking=none turns tracking off"),
        ("~embedder", "embedder=none turns embedder off"),
        ("~eval", "eval=none turns eval off"),
        ("~strategy", "strategy was deleted .*choose one: strategy=macro_topic, strategy=macro_topic_umap, strategy="),
        (
            "~data.packing",
            "data.packing was deleted .* leave ~data.packing out for its default, or give .* data.packing=VALUE",
        ),
        ("~model.finetune.epochs", "model.finetune.epochs=VALUE"),
        ("~selection", "selection was deleted"),
        ("~samples=8", r"samples was deleted \(~samples=8\)"),
        ("~sweep.baselines", "sweep.baselines was deleted"),
    ],
)
def test_a_deleted_setting_is_named_with_the_way_out(override, message):
    with pytest.raises(SftdivError, match=message):
        compose_run([override])


def test_what_is_free_may_be_deleted():
    refuse_deletions(["~sweep.baselines.random", "~units.macro_topic", "~hydra.callbacks", "~tracking.wandb", "seed=1"])
