"""The data of a config, and the x that is observed of them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from vaelab import data
from vaelab.config.section import Section
from vaelab.config.train import Observe
from vaelab.data.rows import Rows

OBSERVATIONS: Mapping[str, Callable] = {
    "binarize": data.binarize,
    "dequantize": data.dequantize,
    "rescale": data.rescale,
    "identity": data.identity,
}


def dataset(section: Section, given: Any = None) -> data.DataSet:
    """The data set by its name, or what was given in its place, with num_train of its training examples.

    Raises ConfigError, or DataError for data that cannot be had.
    """
    name, settings = section.value("name"), _settings(section)
    if (name == data.OF_PYTHON) != (given is not None):
        raise section.error("name", "stands for data that were given to vaelab.run", fix="give data=")
    if given is None and not data.is_own(name):
        _check_unused(section, settings)
    try:
        loaded = _loaded(name, settings, given)
    except data.DataError as error:
        if given is not None:
            raise
        at = ("path", settings.path) if settings.path else ("name", name)
        raise error.about(*at) from error
    count = section.integer("num_train", 0)
    train = loaded.splits["train"]
    if count > len(train.index_N):
        raise section.error("num_train", f"{loaded.name} has {len(train.index_N)} training examples")
    if count:
        loaded.splits["train"] = data.Split(
            first(train.pixels_NxD, count), train.label_N[:count], train.index_N[:count]
        )
    return loaded


def _loaded(name: str, settings: data.Settings, given: Any) -> data.DataSet:
    if given is not None:
        return data.given(given, settings)
    if data.is_own(name):
        return data.load_own(name, settings)
    return data.load(name, data_dir=settings.data_dir)


def observation(section: Section, dataset: data.DataSet) -> Observe:
    """What makes x of a stored example. Raises ConfigError where it does not suit the data."""
    name = section.value("observation")
    observe = section.choice("observation", OBSERVATIONS)
    real = dataset.max_value == data.REAL
    if real and name != "identity":
        fix = "take identity, with model.likelihood.name=gaussian; or give levels, as uint8 in 0..255"
        raise section.error("observation", f"x of {dataset.name} are real numbers", fix=fix)
    if not real and name == "identity":
        problem = (
            f"x of {dataset.name} are levels in 0..{dataset.max_value}, and identity is for real numbers"
        )
        raise section.error("observation", problem, fix="take binarize, dequantize or rescale")
    return partial(observe, max_value=dataset.max_value)


def check_batch(section: Section, batch_size: int, num_train: int) -> None:
    """Raises ConfigError where a batch is larger than the training set: examples would be in it twice."""
    if batch_size > num_train:
        problem = f"is larger than the training set, of {num_train} examples"
        raise section.error("batch_size", problem, fix=f"take {num_train} or less")


def check_validation(section: Section, stop_after: int, num_validation: int) -> None:
    """Raises ConfigError where gains are to be told from their errors, which one datapoint does not give."""
    if stop_after and num_validation < 2:
        problem = f"needs 2 validation datapoints or more, and there is {num_validation}"
        raise section.error("stop_after", problem, fix="take 0, or more validation data")


def first(pixels_NxD: data.Examples, count: int) -> data.Examples:
    """The first of some examples; of Rows unread."""
    return pixels_NxD.first(count) if isinstance(pixels_NxD, Rows) else pixels_NxD[:count]


def _settings(section: Section) -> data.Settings:
    shape = section.widths("image_shape")
    path, label = section.value("path"), section.value("label")
    for name, value in (("path", path), ("label", label)):
        if not isinstance(value, str):
            raise section.error(name, "must be a text")
    return data.Settings(
        path=path,
        fractions=section.numbers("fractions", 0.0),
        image_shape=shape,
        max_value=section.integer("max_value", 0),
        label=label,
        data_dir=section.value("data_dir"),
        memory_bytes=int(section.number("memory_bytes")),
    )


def _check_unused(section: Section, settings: data.Settings) -> None:
    """Raises ConfigError for a setting of one's own data beside the name of a data set."""
    without = data.Settings(data_dir=settings.data_dir, memory_bytes=settings.memory_bytes)
    for name, value in settings._asdict().items():
        if value != getattr(without, name):
            fix = "take data.name=file" if name == "path" else "leave it out"
            raise section.error(name, f"has no effect on {section.value('name')}", fix=fix)
