"""What the page shows of a run beside its figures: latent Gaussians, pictures of the worst, versions."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import vaelab
from vaelab.measure import Outcome, Subject
from vaelab.page.latent import Latents
from vaelab.page.worst import worst

NUM_POINTS = 100
PACKAGES = ("jax", "flax", "optax", "distrax", "numpy")


def latents(subject: Subject, split: str, outcome: Outcome) -> dict[str, Latents]:
    """By "split/family", Gaussian q_phi and q* of the first datapoints, where the family has an encoder."""
    found = {}
    for name in outcome.fits:
        of_law = subject.families[name].location_scale
        if of_law is None or name not in subject.amortized:
            continue

        def moments(phi_P: jax.Array, of_law=of_law) -> tuple[jax.Array, jax.Array]:
            mean_K, scale_KxK = of_law(phi_P)
            return mean_K, jnp.sqrt(jnp.sum(scale_KxK**2, axis=1))

        fitted, moments = outcome.fits[name], jax.jit(jax.vmap(moments))
        amortized, optimal = (
            jax.tree.map(np.asarray, moments(phi_NxP[:NUM_POINTS]))
            for phi_NxP in (fitted.phi_start, fitted.inference.phi_P)
        )
        found[f"{split}/{name}"] = Latents(amortized[0], optimal[0], amortized[1], optimal[1])
    return found


def pictures(
    subject: Subject,
    split: str,
    outcome: Outcome,
    rows: list[dict[str, Any]],
    per_datapoint: Mapping[str, np.ndarray],
    image_shape: tuple[int, ...],
) -> dict[str, dict[int, dict[str, np.ndarray]]]:
    """The worst datapoints of each of the split's rows, and decodings of the centre (eps = 0) of their q.

    By "split/family", then by index.
    """
    model, (x_NxD,) = subject.model, jax.tree.leaves(outcome.points.inputs.x_NxD)
    decode = jax.jit(jax.vmap(model.mean, (None, 0)))
    found = {}
    for row in rows:
        if row["split"] != split:
            continue
        name, losses = row["family"], worst(row, per_datapoint)
        places = np.array([loss.place for loss in losses], int)
        centre = jax.jit(jax.vmap(subject.families[name].reparameterize, (0, None)))
        fitted, phis = outcome.fits[name], {}
        if name in subject.amortized:
            phis[f"by the {subject.amortized[name]}"] = fitted.phi_start
        phis["by q*"] = fitted.inference.phi_P
        strips = {"data": x_NxD[places]} | {
            title: decode(subject.theta, centre(phi_NxP[places], jnp.zeros(model.latent_dim)))
            for title, phi_NxP in phis.items()
        }
        shaped = {title: np.asarray(strip).reshape(-1, *image_shape) for title, strip in strips.items()}
        found[f"{split}/{name}"] = {
            loss.index: {title: strip[number] for title, strip in shaped.items()}
            for number, loss in enumerate(losses)
        }
    return found


def versions() -> dict[str, str]:
    """What computes: the code, the packages that numbers come from, the devices."""
    devices = jax.devices()
    return {
        "vaelab": vaelab.__version__,
        "Python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "devices": f"{len(devices)} {devices[0].device_kind}",
    }
