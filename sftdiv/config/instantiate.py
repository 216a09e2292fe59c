"""Components of config nodes, and config nodes as plain values."""

from __future__ import annotations

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from sftdiv.records import SftdivError
from sftdiv.storage.escaping import escape_interpolation


def make(node: Any) -> Any:
    """The component of a config node.

    Raises:
        SftdivError: A setting of the component is invalid.
    """
    if OmegaConf.is_config(node) and (values := plain(node)) != (escaped := escape_interpolation(values)):
        node = escape_interpolation(escaped)  # once for Hydra's resolving, once for its reading
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, SftdivError):
            raise error.__cause__ from None
        raise


def plain(node: Any) -> Any:
    """A config node as plain Python values, interpolations resolved."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
