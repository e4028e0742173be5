"""What a model is conditional on, from the section `model.condition`, and data with it beside x."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaelab import data
from vaelab.config import own
from vaelab.config.section import Section
from vaelab.data.rows import Rows
from vaelab.model import LIKELIHOODS, PRIORS, Condition, PriorEntry

CONDITIONS = {"none": None, "label": "label", "library_size": "library_size"}
QUANTILES = 100  # of the library sizes of the training data, from which they are drawn
Observe = Callable[[jax.Array, jax.Array], jax.Array]


def read_condition(section: Section, described: Any) -> Condition | None:
    """The condition of a section `model`; None for none. described: the data, or what is known of them.

    Raises ConfigError where the data have no labels, or one in another split that no training example has, or
    have an example without any count.
    """
    asked = section.section("condition")
    kind, in_prior = asked.choice("name", CONDITIONS), asked.boolean("prior")
    if kind is None:
        if in_prior:
            raise asked.error("prior", "needs model.condition.name=label", fix="take False")
        return None
    data_dim = math.prod(described.image_shape)
    if kind == "library_size":
        return _of_library_size(asked, described, data_dim, in_prior=in_prior)
    counts = _counts(asked, described) if isinstance(described, data.DataSet) else described.label_counts
    if len(counts) < 2:
        raise asked.error("name", "needs labels of two classes or more", fix="take none, or data with labels")
    weight_C = tuple(count / sum(counts) for count in counts)
    return Condition(kind, data_dim, weight_C, in_prior=in_prior)


def _of_library_size(section: Section, described: Any, data_dim: int, *, in_prior: bool) -> Condition:
    """That of log l = log sum_j x_j; of a run that is loaded without the ones to draw from."""
    if in_prior:
        raise section.error("prior", "is for labels: a library size scales x, and says nothing of z")
    if not isinstance(described, data.DataSet):
        return Condition("library_size", data_dim, ())
    if described.max_value != data.REAL:
        raise section.error("name", "is of counts, and these data are levels", fix="take none")
    for name, split in described.splits.items():
        _check_memory(section, split)
        empty = int(np.sum(_totals(split, data_dim) <= 0.0))
        if empty:
            line = f"needs a count in each example, and {empty} of {name} have none"
            raise section.error("name", line, fix="leave them out of the data")
    # Midpoints: with 0 and 1 among them the least and the largest total would come as often as all others.
    middles = (np.arange(QUANTILES) + 0.5) / QUANTILES
    quantiles = np.quantile(_totals(described.splits["train"], data_dim), middles)
    return Condition(
        "library_size", data_dim, (1.0 / QUANTILES,) * QUANTILES, tuple(np.log(quantiles).tolist())
    )


def _check_memory(section: Section, split: data.Split) -> None:
    if isinstance(split.pixels_NxD, Rows):
        line = "puts y beside x in the memory, and these data stay on the disk"
        raise section.error("name", line, fix="raise data.memory_bytes")


def _totals(split: data.Split, data_dim: int) -> np.ndarray:
    """The sum of x of each example; its rows may have y already."""
    return np.sum(np.asarray(split.pixels_NxD)[:, :data_dim], axis=1, dtype=np.float64)


def _counts(section: Section, dataset: data.DataSet) -> list[int]:
    """The training examples of each class. Raises ConfigError."""
    if any((split.label_N >= data.MOST_CLASSES).any() for split in dataset.splits.values()):
        line = f"is of labels from 0 to {data.MOST_CLASSES - 1:,}"
        raise section.error("name", line, fix="number the classes 0, 1, ...")
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
            line = f"{name} has the label {label}, which no training example has"
            raise section.error("name", line, fix="take none, or leave these examples out")
    return counts


def with_condition(section: Section, dataset: data.DataSet, condition: Condition | None) -> data.DataSet:
    """The data with y after x in each example: rows of D + C numbers; the data themselves without one."""
    if condition is None:
        return dataset
    splits = {}
    for name, split in dataset.splits.items():
        _check_memory(section.section("condition"), split)
        if condition.kind == "label":
            y_NxC = np.eye(condition.size, dtype=split.pixels_NxD.dtype)[split.label_N]
        else:
            y_NxC = np.float32(np.log(_totals(split, condition.data_dim)))[:, None]
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
    if own.entry(prior, "name", PRIORS, PriorEntry).of_encoder:
        raise prior.error("name", "has pseudo-inputs x, and with model.condition an encoder takes y too")


def check_log1p(top: Section) -> None:
    """Raises ConfigError where an encoder would take the logarithm of what is no count."""
    section = top.section("encoder")
    if not section.boolean("log1p"):
        return
    simulated = top.section("data").value("name") == "simulated"
    name = "gaussian" if simulated else top.section("model").section("likelihood").value("name")
    if name not in LIKELIHOODS or LIKELIHOODS[name].support != "counts":
        raise section.error("log1p", "is for likelihoods of counts", fix="take False")
