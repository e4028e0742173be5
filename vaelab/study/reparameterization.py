"""Which distributions are z = mu + sigma * eps and z = mu + S eps?

N(mu, diag(sigma^2)) and N(mu, S S'): a linear image of a Gaussian vector is Gaussian, with mean mu and
covariance S E[eps eps'] S' = S S'. Draws are held against that claim by their means, covariances and
random projections, and so is a distribution with the same two moments that is not Gaussian, which only the
last can tell.
"""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vaelab import posterior, report
from vaelab.study.finding import Finding
from vaelab.types import Array, Key


def reparameterization(key: Key, *, latent_dim: int, num_draws: int, num_projections: int) -> Finding:
    """Moments and normality of draws; S against S Q; what becomes of the distribution as S loses rank."""
    K = latent_dim
    keys = jax.random.split(key, 8)
    mu_K = jax.random.normal(keys[0], (K,))
    log_sigma_K = 0.5 * jax.random.normal(keys[1], (K,))
    scale_KxK = jax.random.normal(keys[2], (K, K)) / np.sqrt(K)
    rotation_KxK = jnp.linalg.qr(jax.random.normal(keys[3], (K, K)))[0]
    diagonal, full = posterior.diagonal(K), posterior.full(K)
    phi_P = jnp.concatenate([mu_K, log_sigma_K])
    eps_LxSxK = jax.random.normal(keys[4], (3, num_draws, K))
    # Mean 0 and variance 1, not Gaussian.
    flat_SxK = jax.random.uniform(keys[5], (num_draws, K), minval=-np.sqrt(3.0), maxval=np.sqrt(3.0))
    projection_MxK = jax.random.normal(keys[6], (num_projections, K))

    def draws(family, phi_P: Array, noise_SxK: Array) -> np.ndarray:
        return np.asarray(jax.vmap(family.reparameterize, (None, 0))(phi_P, noise_SxK), np.float64)

    dense_P = full.gaussian.project(mu_K, scale_KxK)
    rotated_P = full.gaussian.project(mu_K, scale_KxK @ rotation_KxK)
    samples = {
        "mu + sigma eps": (draws(diagonal, phi_P, eps_LxSxK[0]), jnp.diag(jnp.exp(log_sigma_K))),
        "mu + S eps": (draws(full, dense_P, eps_LxSxK[1]), scale_KxK),
        "mu + S Q eps": (draws(full, rotated_P, eps_LxSxK[2]), scale_KxK),
        "mu + S u, u uniform": (draws(full, dense_P, flat_SxK), scale_KxK),
    }
    moments = [
        {
            "distribution": name,
            **_against_gaussian(z_SxK, mu_K, S_KxK, np.asarray(projection_MxK, np.float64)),
        }
        for name, (z_SxK, S_KxK) in samples.items()
    ]
    return Finding(
        tables={
            "samples against the Gaussian distribution they are said to have": moments,
            "correlations that S S' induces": _correlations(scale_KxK, scale_KxK @ rotation_KxK),
            "a singular value of S goes to 0": _losing_rank(full, mu_K, scale_KxK, eps_LxSxK[1]),
        },
        plot=_plot(keys[7]),
    )


def _against_gaussian(
    z_SxK: np.ndarray, mean_K: Array, scale_KxK: Array, projection_MxK: np.ndarray
) -> dict[str, float]:
    """The largest errors of the moments in standard errors, and a test of each projection for normality.

    p_value: the smallest of the M Kolmogorov-Smirnov tests of a'z against N(a'mu, |S'a|^2), times M
    (Bonferroni), at most 1; the distribution tested is the one claimed, not one fitted to the samples.
    """
    from scipy import stats

    mean_K, scale_KxK = np.asarray(mean_K, np.float64), np.asarray(scale_KxK, np.float64)
    centred_SxK = z_SxK - mean_K
    root = np.sqrt(len(z_SxK))
    mean_errors = np.mean(centred_SxK, axis=0) / (np.std(z_SxK, axis=0) / root)
    products_SxKxK = centred_SxK[:, :, None] * centred_SxK[:, None, :]
    covariance_errors = (np.mean(products_SxKxK, axis=0) - scale_KxK @ scale_KxK.T) / (
        np.std(products_SxKxK, axis=0) / root
    )
    p_values = [
        stats.kstest(centred_SxK @ a, stats.norm(0.0, np.linalg.norm(scale_KxK.T @ a)).cdf).pvalue
        for a in projection_MxK
    ]
    return {
        "mean_error_stderrs": float(np.abs(mean_errors).max()),
        "covariance_error_stderrs": float(np.abs(covariance_errors).max()),
        "normality_p_value": float(min(1.0, len(p_values) * min(p_values))),
    }


def _correlations(scale_KxK: Array, rotated_KxK: Array) -> list[dict[str, float]]:
    rows = []
    covariances = [np.float64(S) @ np.float64(S).T for S in (scale_KxK, rotated_KxK)]
    for i, j in zip(*np.triu_indices(len(scale_KxK), 1), strict=True):
        of_s, of_sq = (float(C[i, j] / np.sqrt(C[i, i] * C[j, j])) for C in covariances)
        rows.append({"pair": f"z_{i + 1}, z_{j + 1}", "of S": of_s, "of S Q": of_sq})
    return rows


def _losing_rank(full, mu_K: Array, scale_KxK: Array, eps_SxK: Array) -> list[dict[str, float]]:
    """Spread of the samples along the least singular direction, entropy and KL as that value falls."""
    left_KxK, value_K, right_KxK = np.linalg.svd(np.asarray(scale_KxK))
    rows = []
    for least in (value_K[-1], 1e-1, 1e-2, 1e-4, 0.0):
        value_K = np.concatenate([value_K[:-1], [least]])
        phi_P = full.gaussian.project(mu_K, jnp.asarray(left_KxK * value_K @ right_KxK))
        # Zero by rounding alone is what a singular S looks like: exactly singular only where it is built so.
        if least == 0.0:
            phi_P = full.gaussian.project(mu_K, jnp.zeros_like(scale_KxK).at[:, 0].set(left_KxK[:, 0]))
        z_SxK = np.asarray(jax.vmap(full.reparameterize, (None, 0))(phi_P, eps_SxK), np.float64)
        rows.append(
            {
                "least singular value": float(least),
                "spread of the draws there": float(np.std((z_SxK - np.asarray(mu_K)) @ left_KxK[:, -1])),
                "entropy": float(full.dist(phi_P).entropy()),
                "KL to the prior": float(full.kl_to_prior(phi_P)),
            }
        )
    return rows


def _plot(key: Key) -> Callable[[Path], None]:
    """Draws three pictures in the plane: 400 samples of each distribution, ellipses at 1 and 2 deviations."""

    def plot(path: Path) -> None:
        eps_Sx2 = np.asarray(jax.random.normal(key, (400, 2)))
        scale = np.array([[1.2, 0.2], [0.6, 0.9]])
        turn = np.array([[0.6, -0.8], [0.8, 0.6]])
        figure, axes = report.figure(3, 12.0, 4.2)
        for axis, scales, title in zip(
            axes,
            (
                {"mu + sigma eps": np.diag(np.sqrt(np.diag(scale @ scale.T))), "mu + S eps": scale},
                {"S": scale, "S Q": scale @ turn},
                {"rank 2": scale, "nearly 1": _with_least(scale, 0.1), "rank 1": _with_least(scale, 0.0)},
            ),
            (
                "the same variances, two distributions",
                "the same distribution, two S: lines are its columns",
                "the distribution as S loses rank",
            ),
            strict=True,
        ):
            for (label, S), colour in zip(scales.items(), ("#4477aa", "#ee8866", "#228833"), strict=False):
                turned, z = title.startswith("the same distribution"), eps_Sx2 @ S.T
                axis.plot(*z.T, ".", markersize=2, color=colour, alpha=0.1 if turned else 0.5)
                style = "--" if turned and label == "S Q" else "-"
                circle = np.stack(
                    [np.cos(np.linspace(0, 2 * np.pi, 200)), np.sin(np.linspace(0, 2 * np.pi, 200))]
                )
                for radius in (1.0, 2.0):
                    name = label if radius == 1.0 else None
                    axis.plot(*(radius * S @ circle), color=colour, label=name, linestyle=style)
                for column in S.T if turned else ():
                    axis.plot([0, column[0]], [0, column[1]], color=colour, linewidth=3)
            axis.set_title(title, fontsize=10)
            axis.set_aspect("equal")
            axis.set_xlabel("$z_1$")
            axis.set_ylabel("$z_2$")
            axis.legend(loc="upper left", fontsize=8)
        figure.savefig(path, dpi=120)

    return plot


def _with_least(scale: np.ndarray, least: float) -> np.ndarray:
    u, value, v = np.linalg.svd(scale)
    return u * np.array([value[0], least]) @ v
