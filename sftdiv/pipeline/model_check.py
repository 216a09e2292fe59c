"""What of the model can be checked before anything is selected: its chat template, and its positions."""

from __future__ import annotations

from sftdiv.config.spec import RunSpec
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.protocols import EvalContext
from sftdiv.records import SftdivError


def check_model(spec: RunSpec, artifacts: RunArtifacts, context: EvalContext) -> None:
    """Render two turns with the chat template, which needs the tokenizer alone, and compare lengths with the config.

    Raises:
        SftdivError: The template rejects the turns, ends a response with no special token, or
            ``model.max_length`` exceeds the positions of the model.
    """
    data, own_format = spec.training.data, spec.model.pretrain is not None
    if not own_format or (data.template is not None and not data.prefer_own):  # the own template is known to work
        from sftdiv.modeling.chat_labels import end_token
        from sftdiv.modeling.checkpoint import load_tokenizer

        end_token(load_tokenizer(artifacts.tokenizer, template=data.template, prefer_own=data.prefer_own))
    positions = context.positions()
    if positions is not None and spec.model.max_length > positions:
        raise SftdivError(
            f"model.max_length={spec.model.max_length} exceeds the {positions} positions of the model; set "
            f"model.max_length={positions} or less"
        )
