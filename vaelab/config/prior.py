"""The prior of the section `model.prior`, and the pseudo-inputs that one of them starts from."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from vaelab import data
from vaelab.config import own
from vaelab.config.data import OBSERVATIONS
from vaelab.config.levels import read_levels
from vaelab.config.posterior import encoder, families
from vaelab.config.section import Section
from vaelab.data.observe import observe_all
from vaelab.keys import named_key
from vaelab.model import PRIORS, Prior, PriorEntry
from vaelab.model.prior import has_known_prior
from vaelab.model.vamp import PseudoInputs
from vaelab.objective import OBJECTIVES
from vaelab.posterior import FAMILIES
from vaelab.types import LatentModel, Network

STARTS = {"data": True, "noise": False}
FLOWS = {name: entry for name, entry in FAMILIES.items() if entry.loop == "flow" and not entry.of_levels}
CHOICE = 4  # times as many training examples as pseudo-inputs, of which each seed takes some


def read_prior(
    top: Section, latent_dim: int, described: Any, computed: Callable[[Network], Network]
) -> Prior | None:
    """The prior of the model; None for N(0, I). described: the data, or what is known of them: see below.

    Raises ConfigError for a setting that cannot be, whether this prior reads it or not.
    """
    section = top.section("model").section("prior")
    sizes = {name: section.integer(name, 1) for entry in PRIORS.values() for name in entry.sizes}
    of_flow = {name: section.integer(name, 1) for name in ("num_layers", "hidden")}
    flow, of_data = section.choice("flow", FLOWS), section.choice("pseudo_inputs", STARTS)
    entry, name = own.entry(section, "name", PRIORS, PriorEntry), section.value("name")
    if name == "standard_normal":
        return None
    if not sizes.keys() >= set(entry.sizes):
        lacking = ", ".join(size for size in entry.sizes if size not in sizes)
        raise section.error(
            "name", f"asks for {lacking}, which no setting is", fix="bind it in your function"
        )
    if latent_dim < entry.min_latent_dim:
        raise section.error("name", f"needs model.latent_dim of {entry.min_latent_dim} or more")
    given: dict[str, Any] = {size: sizes[size] for size in entry.sizes}
    if entry.of_levels:
        given["levels"] = read_levels(top.section("model")).sizes
    if entry.is_flow:
        given["family"] = flow.make(latent_dim, **of_flow)
    if entry.of_encoder:
        given |= _of_encoder(top, section, latent_dim, described, computed, of_data=of_data)
    if not own.is_own(name):
        return entry.make(latent_dim, **given)
    return own.checked_prior(
        section, lambda: entry.make(latent_dim, **given), latent_dim, given.get("encoder")
    )


def _of_encoder(
    top: Section,
    section: Section,
    latent_dim: int,
    described: Any,
    computed: Callable[[Network], Network],
    *,
    of_data: bool,
) -> dict[str, Any]:
    """The family=, encoder= and inputs= of a prior that is made of the trained family's encoder."""
    if top.section("learning").value("regime") == "mean_field":
        raise section.error("name", "is made of an encoder, and learning.regime=mean_field has none")
    trained = top.section("posterior").value("family")
    if FAMILIES[trained].loop == "flow":
        gaussian = ", ".join(
            sorted(name for name in FAMILIES.keys() - FLOWS.keys() if not FAMILIES[name].of_levels)
        )
        line = f"is a mixture of Gaussian q, and posterior.family={trained} is a flow"
        raise section.error("name", line, fix=f"take one of {gaussian}")
    family = families(top.section("posterior"), (trained,), latent_dim)[trained]
    count = section.integer("num_components", 1)
    inputs = _pseudo_inputs(section, top.section("data"), described, count, of_data=of_data)
    return {
        "family": family,
        "encoder": encoder(top.section("encoder"), family, described.image_shape, computed),
        "inputs": inputs,
    }


def _pseudo_inputs(
    section: Section, of_data_section: Section, described: Any, count: int, *, of_data: bool
) -> PseudoInputs:
    """Where pseudo-inputs start. described: a DataSet; or a Description, without data to start from.

    A model that is loaded, or counted, has the second: its pseudo-inputs are of the right shape, no more.
    """
    size = int(np.prod(described.image_shape))
    range_of_levels = jnp.zeros(size), jnp.ones(size)
    if not isinstance(described, data.DataSet):
        return PseudoInputs(*range_of_levels)
    train = described.splits["train"]
    if count > len(train.index_N):
        line = f"are more pseudo-inputs than the {len(train.index_N)} training examples"
        raise section.error("num_components", line, fix=f"take {len(train.index_N)} or fewer")
    some = np.linspace(0, len(train.index_N) - 1, min(CHOICE * count, len(train.index_N))).astype(int)
    observe = partial(OBSERVATIONS[of_data_section.value("observation")], max_value=described.max_value)
    key = named_key(of_data_section.integer("seed", 0), "pseudo_inputs")
    x_MxD = jnp.asarray(
        observe_all(key, np.asarray(train.pixels_NxD[some]), train.index_N[some], observation=observe)
    )
    of_real = described.max_value == data.REAL
    lower_D, upper_D = (jnp.min(x_MxD, axis=0), jnp.max(x_MxD, axis=0)) if of_real else range_of_levels
    return PseudoInputs(lower_D, upper_D, x_MxD if of_data else None)


def check_objective(section: Section, latent_model: LatentModel) -> None:
    """Raises ConfigError for an objective with a closed-form KL to the prior, where there is none."""
    name = section.value("name")
    if not has_known_prior(latent_model) and name in OBJECTIVES and OBJECTIVES[name].needs_known_prior:
        fix = ", ".join(other for other, entry in OBJECTIVES.items() if not entry.needs_known_prior)
        line = f"takes the KL to the prior in closed form, and to {latent_model.prior} there is none"
        raise section.error("name", line, fix=f"there are {fix}")


def check_simulated(section: Section, splits: tuple[str, ...], latent_model: LatentModel) -> None:
    """Raises ConfigError where data are to be simulated from a model that cannot be sampled."""
    if "simulated" in splits and latent_model.sample_prior is None:
        line = f"has simulated data, and the prior {latent_model.prior} has no sample"
        raise section.error("splits", line, fix="give it one, or leave them out")
