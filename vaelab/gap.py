"""The amortization gap and its neighbours, per datapoint, in nats:

    L[q_phi]  <=  L[q*]  <=  log p(x)

    amortization gap = L[q*] - L[q_phi]        what the encoder loses against the best q of its family
    approximation gap = log p(x) - L[q*]       what the family loses against the posterior
    inference gap = log p(x) - L[q_phi]        their sum

(Cremer, Li & Duvenaud 2018, section 3.) Gaps are differences at the same datapoints, and the two ELBOs of a
datapoint share their draws; nothing is clipped, a negative gap is counted and shown.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.evidence import Evidence, importance_sampling
from vaelab.inference import Inference, infer
from vaelab.model import bind
from vaelab.objective import Estimate, estimate_elbo
from vaelab.parallel import Progress, map_datapoints
from vaelab.solver import SolverOf
from vaelab.types import Array, Key, LatentModel, Params, PosteriorFamily


class Gap(NamedTuple):
    """The three quantities, one number for each datapoint, `[N]` each."""

    elbo_amortized: np.ndarray
    elbo_optimal: np.ndarray
    log_evidence: np.ndarray

    @property
    def amortization(self) -> np.ndarray:
        return self.elbo_optimal - self.elbo_amortized

    @property
    def approximation(self) -> np.ndarray:
        return self.log_evidence - self.elbo_optimal

    @property
    def inference(self) -> np.ndarray:
        return self.log_evidence - self.elbo_amortized


class InferenceSettings(NamedTuple):
    """How q* is found and scored: see `infer`, `fit_locally` and `estimate_elbo`."""

    solver: SolverOf
    num_steps: int
    max_rounds: int
    certificate_groups: int
    tolerance: float
    elbo_samples: int
    elbo_chunk_size: int


class LocalFit(NamedTuple):
    """One family fitted to each datapoint: the start scored, the optimum found, the optimum scored.

    rounds: how often the inner loop was run.
    """

    phi_start: np.ndarray
    elbo_start: Estimate
    inference: Inference
    elbo_optimal: Estimate
    rounds: np.ndarray

    @classmethod
    def template(cls) -> "LocalFit":
        """The structure without its arrays."""
        return cls(0, Estimate(0, 0), Inference(0, Estimate(0, 0), 0), Estimate(0, 0), 0)


@functools.lru_cache(maxsize=16)
def _local_fit(
    model: LatentModel, family: PosteriorFamily, settings: InferenceSettings
) -> Callable[..., LocalFit]:
    """One datapoint of `fit_locally`; the same function for the same arguments, so that it compiles once."""
    searched = family.searched_as or family
    solver = settings.solver(searched)

    def one(shared, row):
        (theta, key, number), (x_D, index, phi_P, phi_from_P) = shared, row
        log_joint = bind(model, theta, x_D)
        key_infer, key_score = jax.random.split(jax.random.fold_in(key, index))
        optimum = infer(
            solver,
            log_joint,
            searched,
            _same_law(phi_from_P, family, searched),
            jax.random.fold_in(key_infer, number),
            num_steps=settings.num_steps,
            certificate_groups=settings.certificate_groups,
            tolerance=settings.tolerance,
            concavity_KxK=model.concavity(theta, x_D) if model.concavity else None,
        )
        optimum = optimum._replace(phi_P=_same_law(optimum.phi_P, searched, family))
        start, best = (
            estimate_elbo(
                log_joint,
                family,
                phi,
                key_score,
                num_samples=settings.elbo_samples,
                chunk_size=settings.elbo_chunk_size,
            )
            for phi in (phi_P, optimum.phi_P)
        )
        return LocalFit(phi_P, start, optimum, best, number + 1)

    return one


def _same_law(phi_P: Array, family: PosteriorFamily, other: PosteriorFamily) -> Array:
    """phi of the same Gaussian law in the coordinates of another family that has it."""
    return phi_P if other is family else other.project(*family.location_scale(phi_P))


def fit_locally(
    model: LatentModel,
    family: PosteriorFamily,
    settings: InferenceSettings,
    theta: Params,
    data: tuple[np.ndarray, np.ndarray],
    phi_start_NxP: np.ndarray,
    key: Key,
    *,
    from_prior: bool = False,
    chunk_size: int,
    progress: Progress = lambda count: None,
) -> LocalFit:
    """q* for each datapoint of data = (x_NxD, index_N), its bound, and the bound of phi_start.

    The inner loop begins at phi_start (the encoder's), or at the prior. Datapoints that have not converged go
    on from where they are for another round, up to max_rounds, without those that have; what a datapoint
    comes to does not depend on which others are with it. The two bounds share draws that the solver
    never saw.
    """
    one = _local_fit(model, family, settings)
    prior_P = np.asarray(family.init())
    phi_from_NxP = np.broadcast_to(prior_P, phi_start_NxP.shape) if from_prior else phi_start_NxP
    rows = (*data, phi_start_NxP, phi_from_NxP)
    with jax.default_matmul_precision("highest"):
        fitted = map_datapoints(
            one, (theta, key, jnp.int32(0)), rows, chunk_size=chunk_size, progress=progress
        )
        for number in range(1, settings.max_rounds):
            left = np.flatnonzero(~fitted.inference.converged)
            if not left.size:
                break
            # Filled up with copies to one whole chunk at least, so that the same program serves.
            size = max(left.size, min(chunk_size, len(phi_start_NxP)))
            filled = left[np.minimum(np.arange(size), left.size - 1)]
            rows = (*(array[filled] for array in (*data, phi_start_NxP)), fitted.inference.phi_P[filled])
            again = map_datapoints(one, (theta, key, jnp.int32(number)), rows, chunk_size=chunk_size)
            for whole, part in zip(jax.tree.leaves(fitted), jax.tree.leaves(again), strict=True):
                whole[left] = part[: left.size]
    return fitted


@functools.lru_cache(maxsize=16)
def _evidence(
    model: LatentModel, families: tuple[PosteriorFamily, ...], num_samples: int, draw_chunk_size: int
) -> Callable[..., Evidence]:
    """One datapoint of `estimate_log_evidence`, as `_local_fit`."""

    def one(shared, row):
        (theta, key), (x_D, index, phis) = shared, row
        phis = [jnp.where(jnp.all(jnp.isfinite(p)), p, f.init()) for f, p in zip(families, phis, strict=True)]
        return importance_sampling(
            bind(model, theta, x_D),
            tuple(zip(families, phis, strict=True)),
            jax.random.fold_in(key, index),
            num_samples=num_samples,
            chunk_size=draw_chunk_size,
        )

    return one


def estimate_log_evidence(
    model: LatentModel,
    families: tuple[PosteriorFamily, ...],
    theta: Params,
    data: tuple[np.ndarray, np.ndarray],
    phis_NxP: tuple[np.ndarray, ...],
    key: Key,
    *,
    num_samples: int,
    draw_chunk_size: int,
    chunk_size: int,
    progress: Progress = lambda count: None,
) -> Evidence:
    """A lower bound on log p(x) for each datapoint, importance sampling from the mixture of all its q*.

    The prior stands in for a q* that is not finite, so that it spoils nothing but itself.
    """

    one = _evidence(model, families, num_samples, draw_chunk_size)
    with jax.default_matmul_precision("highest"):
        return map_datapoints(one, (theta, key), (*data, phis_NxP), chunk_size=chunk_size, progress=progress)


def mean_and_stderr(values_N: np.ndarray) -> dict[str, float]:
    """The mean over datapoints and its standard error sd / sqrt(N), which includes each value's own noise."""
    values_N = np.asarray(values_N, np.float64)
    stderr = float(np.std(values_N, ddof=1) / math.sqrt(values_N.size)) if values_N.size > 1 else math.nan
    return {"mean": float(np.mean(values_N)), "stderr": stderr}


def summarize(gap: Gap, *, has_encoder: bool = True) -> dict[str, dict[str, float] | None]:
    """The six statistics of a `gap.json` row; what needs an encoder is None where the family has none."""
    amortized = {
        "elbo_amortized": mean_and_stderr(gap.elbo_amortized),
        "amortization_gap": mean_and_stderr(gap.amortization),
        "inference_gap": mean_and_stderr(gap.inference),
    }
    return {
        **(amortized if has_encoder else dict.fromkeys(amortized)),
        "elbo_optimal": mean_and_stderr(gap.elbo_optimal),
        "log_evidence": mean_and_stderr(gap.log_evidence),
        "approximation_gap": mean_and_stderr(gap.approximation),
    }


def exact_gap(
    model: LatentModel, family: PosteriorFamily, theta: Params, x_NxD: np.ndarray, phi_NxP: np.ndarray
) -> Gap:
    """The closed forms behind `Gap` for a model that has them (`model.exact`) and a Gaussian family.

    The best q of the family is the projection of the posterior, as L[q] = log p(x) - KL(q || posterior).
    """

    def one(theta, row):
        x_D, phi_P = row
        mean_K, precision_KxK = model.exact.posterior(theta, x_D)
        # precision = C C', so covariance = C'^-1 C^-1 and C'^-1 is a square root of it.
        scale_KxK = jnp.linalg.inv(jnp.linalg.cholesky(precision_KxK)).T
        optimum = family.location_scale(family.project(mean_K, scale_KxK))
        return Gap(
            model.exact.elbo(theta, x_D, *family.location_scale(phi_P)),
            model.exact.elbo(theta, x_D, *optimum),
            model.exact.log_evidence(theta, x_D),
        )

    with jax.default_matmul_precision("highest"):
        return map_datapoints(one, theta, (x_NxD, phi_NxP), chunk_size=1000)


def broken_orders(ordered: list[tuple[str, np.ndarray]], *, num_stderrs: float = 5.0) -> list[str]:
    """Names each neighbouring pair (a, b) of quantities with mean(b - a) below 0 by more than its error.

    `ordered` lists per-datapoint quantities, from the smallest to the largest that theory puts them in. The
    difference is paired; an empty list means that the order holds up to `num_stderrs` standard errors.
    """
    broken = []
    for (low_name, low_N), (high_name, high_N) in itertools.pairwise(ordered):
        difference = mean_and_stderr(high_N - low_N)
        # A difference of the size of float32 rounding, with no spread, is not a violation.
        # Of one datapoint there is no error to go by: only its rounding is allowed for.
        stderr = difference["stderr"] if len(low_N) > 1 else 0.0
        rounding = 4.0 * np.finfo(np.float32).eps * float(np.mean(np.abs(low_N)))
        if not difference["mean"] >= -(num_stderrs * stderr + rounding):
            broken.append(f"{low_name} exceeds {high_name} by {-difference['mean']:.4f} +- {stderr:.4f} nats")
    return broken
