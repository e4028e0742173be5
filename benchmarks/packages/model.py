"""One small VAE with an exact log p(x), in NumPy: what every package is given.

z ~ N(0, I) in two dimensions, x of six bits, p(x_j = 1 given z) = sigmoid(W2 tanh(W1 z + b1) + b2)_j, and the
encoder q(z given x) = N(A x + a, diag exp(B x + b)). Weights are drawn with a fixed seed and widened, so that
the posterior is not Gaussian; the encoder is a least-squares fit to exact posterior means and variances of
all 64 x, with variances 1.6 times as large, so that its importance weights have a finite variance.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

K, H, D, N = 2, 8, 6, 20
SEED, WIDER = 1, 1.6
Array = np.ndarray


class Model(NamedTuple):
    """Weights, and the datapoints x_NxD, which are samples of the model."""

    w1_HxK: Array
    b1_H: Array
    w2_DxH: Array
    b2_D: Array
    mean_KxD: Array
    mean_K: Array
    log_var_KxD: Array
    log_var_K: Array
    x_NxD: Array

    def logits(self, z: Array) -> Array:
        """[..., D] at z, [..., K]."""
        return np.tanh(z @ self.w1_HxK.T + self.b1_H) @ self.w2_DxH.T + self.b2_D

    def log_likelihood(self, x: Array, z: Array) -> Array:
        """log p(x given z), nats, of x, [..., D], and z, [..., K]."""
        logits = self.logits(z)
        return np.sum(x * logits - np.logaddexp(0.0, logits), -1)

    def encode(self, x: Array) -> tuple[Array, Array]:
        """(mu, log sigma^2), each [..., K]."""
        return x @ self.mean_KxD.T + self.mean_K, x @ self.log_var_KxD.T + self.log_var_K

    def save(self, path: Path) -> None:
        np.savez(path, **self._asdict())

    @classmethod
    def load(cls, path: str | Path) -> "Model":
        with np.load(path) as arrays:
            return cls(**arrays)


def log_normal(z: Array, mu: Array | float = 0.0, log_var: Array | float = 0.0) -> Array:
    """log N(z; mu, diag exp(log_var)), nats, summed over the last axis."""
    return -0.5 * np.sum((z - mu) ** 2 / np.exp(log_var) + log_var + np.log(2 * np.pi), -1)


def log_mean_exp(a: Array, axis: int) -> Array:
    top = np.max(a, axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.mean(np.exp(a - top), axis))


def grid(points: int = 400, reach: float = 8.0) -> tuple[Array, float]:
    """(z_SxK, log of the area of a cell) of a regular grid over the square of this half-width."""
    edge, step = np.linspace(-reach, reach, points, retstep=True)
    return np.stack(np.meshgrid(edge, edge, indexing="ij"), -1).reshape(-1, K), 2 * np.log(step)


def log_evidence(model: Model, x_NxD: Array, points: int = 400, reach: float = 8.0) -> Array:
    """log p(x) of each datapoint by the trapezoidal rule, which converges geometrically here."""
    z_SxK, log_cell = grid(points, reach)
    prior_S = log_normal(z_SxK) + log_cell + np.log(len(z_SxK))
    return np.array([log_mean_exp(prior_S + model.log_likelihood(x, z_SxK), 0) for x in x_NxD])


def elbo(model: Model, x_NxD: Array, points: int = 400, reach: float = 8.0) -> Array:
    """L[q] of each datapoint: log p(x given z) under q by the trapezoidal rule, the KL in closed form."""
    eps_SxK, log_cell = grid(points, reach)
    weight_S = np.exp(log_normal(eps_SxK) + log_cell)
    mu_NxK, log_var_NxK = model.encode(x_NxD)
    kl_N = 0.5 * np.sum(np.exp(log_var_NxK) + mu_NxK**2 - 1.0 - log_var_NxK, -1)
    scale_NxK = np.exp(0.5 * log_var_NxK)
    each = zip(x_NxD, mu_NxK, scale_NxK, strict=True)
    return np.array([model.log_likelihood(x, mu + s * eps_SxK) @ weight_S for x, mu, s in each]) - kl_N


def log_weights(model: Model, x_NxD: Array, samples: int, rng: np.random.Generator) -> Array:
    """log p(x, z) - log q(z given x) at samples of q: [N, samples]."""
    mu, log_var = (part[:, None] for part in model.encode(x_NxD))
    z = mu + np.exp(0.5 * log_var) * rng.standard_normal((len(x_NxD), samples, K))
    return model.log_likelihood(x_NxD[:, None], z) + log_normal(z) - log_normal(z, mu, log_var)


def posterior_samples(model: Model, x_NxD: Array, samples: int, rng: np.random.Generator) -> Array:
    """[N, samples, K] of p(z given x) by rejection of samples of the prior, p(x given z) being at most 1."""
    kept = []
    for x in x_NxD:
        z = np.zeros((0, K))
        while len(z) < samples:
            proposed = rng.standard_normal((200_000, K))
            log_p = model.log_likelihood(x, proposed)
            z = np.concatenate([z, proposed[np.log(rng.uniform(size=len(log_p))) < log_p]])
        kept.append(z[:samples])
    return np.stack(kept)


@functools.cache
def shared() -> Model:
    """The model of the page."""
    rng = np.random.default_rng(SEED)
    decoder = (
        1.5 * rng.standard_normal((H, K)),
        0.5 * rng.standard_normal(H),
        1.2 * rng.standard_normal((D, H)),
        0.5 * rng.standard_normal(D),
    )
    none = np.zeros((K, D)), np.zeros(K)
    model = Model(*decoder, *none, *none, np.zeros((0, D)))
    every = (np.arange(2**D)[:, None] >> np.arange(D) & 1).astype(float)
    z_SxK, _ = grid(200)
    log_p = log_normal(z_SxK) + np.stack([model.log_likelihood(x, z_SxK) for x in every])
    weight = np.exp(log_p - log_p.max(1, keepdims=True))
    weight /= weight.sum(1, keepdims=True)
    mean = weight @ z_SxK
    log_var = np.log(WIDER * (weight @ z_SxK**2 - mean**2))
    design = np.c_[every, np.ones(len(every))]
    affine = [np.linalg.lstsq(design, target, rcond=None)[0].T for target in (mean, log_var)]
    encoder = [part for each in affine for part in (each[:, :-1], each[:, -1])]
    z_NxK = rng.standard_normal((N, K))
    x_NxD = (rng.uniform(size=(N, D)) < 1.0 / (1.0 + np.exp(-model.logits(z_NxK)))).astype(float)
    # In float32, so that every package has the same numbers.
    return Model(*(np.float64(np.float32(part)) for part in (*decoder, *encoder, x_NxD)))
