"""Settings that are younger than the first run directories, with the values that those have."""

from typing import Any

LATER: dict[str, Any] = {
    "config.data.path": "",
    "config.data.fractions": [0.8, 0.1, 0.1],
    "config.data.image_shape": [],
    "config.data.max_value": 0,
    "config.data.label": "",
    "config.data.memory_bytes": 2**28,
    "config.model.likelihood.num_components": 5,
    "config.model.likelihood.degrees_of_freedom": 5.0,
    "config.model.residual": 0,
    "config.model.convolution": "products",
    "config.encoder.residual": 0,
    "config.encoder.convolution": "products",
    "config.model.alignment": "corner",
    "config.encoder.alignment": "corner",
    "config.encoder.log1p": False,
    "config.model.prior.name": "standard_normal",
    "config.model.prior.num_components": 500,
    "config.model.prior.pseudo_inputs": "data",
    "config.model.prior.flow": "real_nvp",
    "config.model.prior.num_layers": 4,
    "config.model.prior.hidden": 64,
    "config.model.prior.num_gaussians": 5,
    "config.model.condition.name": "none",
    "config.model.condition.prior": False,
    "config.model.prior.levels": [],
    "config.model.prior.reads": "first",
    "config.train.stop_after": 0,
    "config.train.keep_best": "",
    "config.log.to": ["tensorboard"],
}
"""Settings that were added since runs were first kept, with the value that leaves all as it was: a config
without them is the same config."""
