"""What a model is conditional on, from the section `model.condition`, and data with it beside x."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaelab import data
from vaelab.config.section import Section
from vaelab.data.rows import Rows
from vaelab.model import Condition

CONDITIONS = {"none": False, "label": True}
Observe = Callable[[jax.Array, jax.Array], jax.Array]


def read_condition(section: Section, described: Any) -> Condition | None:
    """The condition of a section `model`; None for none. described: the data, or what is known of them.

    Raises ConfigError where the data have no labels, or one in another split that no training example has.
    """
    own = section.section("condition")
    of_label, in_prior = own.choice("name", CONDITIONS), own.boolean("prior")
    if not of_label:
        return None
    counts = _counts(own, described) if isinstance(described, data.DataSet) else described.label_counts
    if len(counts) < 2:
        raise own.error("name", "needs labels of two classes or more", fix="take none, or data with labels")
    total = sum(counts)
    frequency_C = tuple(count / total for count in counts)
    return Condition(math.prod(described.image_shape), frequency_C, in_prior)


def _counts(section: Section, dataset: data.DataSet) -> list[int]:
    """The training examples of each class. Raises ConfigError."""
    counts = data.label_counts(dataset)
    for name, split in dataset.splits.items():
        if (split.label_N < 0).any():
            line = f"needs a label of each example, and {int(np.sum(split.label_N < 0))} of {name} have none"
            raise section.error("name", line, fix="take none, or label them")
        seen_N = (split.label_N < len(counts)) & (
            np.array([*counts, 0])[np.minimum(split.label_N, len(counts))] > 0
        )
        if not seen_N.all():
            label = int(split.label_N[~seen_N][0])
            raise section.error("name", f"{name} has the label {label}, which no training example has")
    return counts


def with_condition(section: Section, dataset: data.DataSet, condition: Condition | None) -> data.DataSet:
    """The data with y after x in each example: rows of D + C numbers; the data themselves without one."""
    if condition is None:
        return dataset
    splits = {}
    for name, split in dataset.splits.items():
        if isinstance(split.pixels_NxD, Rows):
            line = "puts y beside x in the memory, and these data stay on the disk"
            raise section.section("condition").error("name", line, fix="raise data.memory_bytes")
        y_NxC = np.eye(condition.size, dtype=split.pixels_NxD.dtype)[split.label_N]
        splits[name] = split._replace(pixels_NxD=np.concatenate([split.pixels_NxD, y_NxC], axis=1))
    return dataset._replace(splits=splits)


def beside(observe: Observe, condition: Condition | None) -> Observe:
    """The observation of x, with y as it is; x is the same as without a condition."""
    if condition is None:
        return observe

    def both(key: jax.Array, row_R: jax.Array) -> jax.Array:
        x_D = observe(key, row_R[: condition.data_dim])
        return jnp.concatenate([x_D, row_R[condition.data_dim :].astype(jnp.float32)])

    return both


def input_shape(section: Section, described: Any, network: Section) -> tuple[int, ...]:
    """What an encoder takes: the shape of x, or with y the number of both. Raises ConfigError.

    section: the model's; network: the encoder's.
    """
    condition = read_condition(section, described)
    if condition is None:
        return described.image_shape
    if network.value("network") == "convolutional":
        raise network.error("network", "takes images alone, and y is beside x", fix="take mlp")
    return (condition.data_dim + condition.size,)


def check_condition(top: Section, condition: Condition | None) -> None:
    """Raises ConfigError for what has no meaning for rows of x and y."""
    if condition is None:
        return
    evaluate, prior = top.section("evaluate"), top.section("model").section("prior")
    if "corrupted" in evaluate.value("splits"):
        raise evaluate.error(
            "splits", "has corrupted data, and with model.condition y would be corrupted too"
        )
    if prior.value("name") == "vamp":
        raise prior.error("name", "has pseudo-inputs x, and with model.condition an encoder takes y too")
