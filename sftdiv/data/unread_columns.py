"""Columns with a known meaning in other programs that this one does not read.

A column that would change the conversation or its labels makes a bad row where it holds something: tools,
images, an answer marked as undesirable or as not to be learned. Others are counted and named in one
warning. Meanings are those of LLaMA-Factory, axolotl, TRL, OpenAI, Mistral, verl and ms-swift.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sftdiv.data.bad_rows import BadRowError
from sftdiv.data.turns import flag, is_empty

LOST = ("tools", "functions", "tool_calls", "images", "image", "videos", "video", "audios", "audio")
LABELS = ("label", "kto_tag")  # whether the answer is desirable: TRL's and LLaMA-Factory's KTO
LEARNED = ("weight", "train", "training", "trainable")  # whether the conversation is learned
COUNTED = (
    *("chosen", "rejected", "preferred_output", "non_preferred_output"),  # preferences: TRL, LLaMA-Factory, OpenAI
    *("loss", "loss_mask", "loss_masks", "loss_weights", "labels", "label_mask", "assistant_masks", "assistant_mask"),
    *("completion_mask", "mask", "weights", "sample_weight"),
    *("reasoning_content", "reasoning", "thinking"),
    *("documents", "chat_template", "chat_template_kwargs", "enable_thinking"),  # arguments of chat templates
)
NAMES = frozenset((*LOST, *LABELS, *LEARNED, *COUNTED))


def check_columns(row: Mapping[str, Any]) -> Iterator[str]:
    """Names of columns that hold something and are not read, of a row that does not use them.

    Args:
        row: The row without the columns that its conversation is read from.

    Raises:
        BadRowError: If a column would change the conversation or its labels.
    """
    for name in row.keys() & NAMES:
        value = row[name]
        if is_empty(value):
            continue
        is_label, is_mark = name in LABELS, name in LEARNED
        refused = name in LOST or (is_mark and flag(value) is False)
        if is_label:
            refused = value is False or (isinstance(value, str) and value.strip().lower() == "false")
        if refused:
            shown = "" if name in LOST else f" {json.dumps(value, default=str)}"
            raise BadRowError(
                f"unsupported column: the row has {name}{shown}, which is not supported; "
                f"corpus.ignore=[{name}] reads rows as if it were not there"
            )
        means_nothing = (is_label and isinstance(value, (str, bool))) or (is_mark and flag(value) is True)
        if not means_nothing and not (is_mark and isinstance(value, str)) and value is not False:
            yield name
