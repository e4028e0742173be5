"""What the page shows of a run beside its figures: latent Gaussians, pictures of the worst, versions."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vaelab.measure.encoding import moments
from vaelab.measure.pictures import as_images, centres, decoded
from vaelab.measure.subject import Outcome, Subject
from vaelab.report.page.latent import Latents
from vaelab.report.page.worst import worst
from vaelab.runtime.versions import versions as of_process

NUM_POINTS = 100


def latents(subject: Subject, split: str, outcome: Outcome) -> dict[str, Latents]:
    """Gaussian q_phi and q* of the first datapoints by "split/family", where the family has an encoder."""
    pairs = {}
    for name in outcome.fits:
        family, fitted = subject.families[name], outcome.fits[name]
        if family.gaussian is None or name not in subject.amortized:
            continue
        amortized, optimal = (
            moments(family, phi_NxP[:NUM_POINTS]) for phi_NxP in (fitted.phi_start, fitted.inference.phi_P)
        )
        means = (mean_NxK for mean_NxK, _ in (amortized, optimal))
        sds = (np.sqrt(np.sum(scale_NxKxK**2, axis=2)) for _, scale_NxKxK in (amortized, optimal))
        pairs[f"{split}/{name}"] = Latents(*means, *sds)
    return pairs


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
    (x_NxD,) = jax.tree.leaves(outcome.points.inputs.x_NxD)
    of_rows = {}
    for row in rows:
        if row["split"] != split:
            continue
        name, losses = row["family"], worst(row, per_datapoint)
        if not losses:
            continue
        positions = np.array([loss.position for loss in losses], int)
        family, fitted, phis = subject.families[name], outcome.fits[name], {}
        if name in subject.amortized:
            phis[f"by the {subject.amortized[name]}"] = fitted.phi_start
        phis["by q*"] = fitted.inference.phi_P
        strips = {"data": x_NxD[positions]} | {
            title: decoded(subject.model, subject.theta, centres(family, phi_NxP[positions]))
            for title, phi_NxP in phis.items()
        }
        shaped = {title: as_images(strip, image_shape) for title, strip in strips.items()}
        of_rows[f"{split}/{name}"] = {
            loss.index: {title: strip[number] for title, strip in shaped.items()}
            for number, loss in enumerate(losses)
        }
    return of_rows


def versions() -> dict[str, str]:
    """What computes: the code, the packages that numbers come from, the devices."""
    return of_process() | {"device": f"{len(jax.devices())} {jax.devices()[0].device_kind}"}
