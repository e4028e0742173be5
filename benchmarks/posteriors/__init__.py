"""Posteriors whose log p(x) is known exactly: `GROUPS`, the datapoints of one audit each."""

from collections.abc import Callable
from functools import partial

from benchmarks.posteriors import curves, mixtures, symmetric, tails
from benchmarks.posteriors.record import Posteriors

__all__ = ["GROUPS", "Posteriors"]

GROUPS: dict[str, Callable[[], Posteriors]] = {
    "mixture-k1": partial(mixtures.mixtures, 1, 28),
    "mixture-k2": partial(mixtures.mixtures, 2, 28),
    "mixture-k10": partial(mixtures.mixtures, 10, 24),
    "mixture-k50": partial(mixtures.mixtures, 50, 16),
    "mixture-k2-no-encoder": partial(mixtures.mixtures, 2, 16, has_encoder=False),
    "mixture-k10-no-encoder": partial(mixtures.mixtures, 10, 16, has_encoder=False),
    "scale-k2": partial(mixtures.scales, 2),
    "scale-k10": partial(mixtures.scales, 10),
    "far-start-k2": partial(mixtures.far_starts, 2),
    "far-start-k10": partial(mixtures.far_starts, 10),
    "curve-k2": partial(curves.curves, 2),
    "curve-k10": partial(curves.curves, 10),
    "sign-k1": partial(symmetric.signs, 1, 10),
    "sign-k2": partial(symmetric.signs, 2, 10),
    "sign-k2-no-encoder": partial(symmetric.signs, 2, 6, has_encoder=False),
    "sign-k3": partial(symmetric.signs, 3, 8),
    "sign-k10": partial(symmetric.signs, 10, 6),
    "label-2-blocks": partial(symmetric.labels, 2, 1, 8),
    "label-3-blocks": partial(symmetric.labels, 3, 2, 6),
    "shell-k2": partial(symmetric.shells, 2, 8),
    "shell-k10": partial(symmetric.shells, 10, 6),
    "student-k2": partial(tails.student, 2),
    "student-k10": partial(tails.student, 10),
    "skewed-k2": partial(tails.log_gamma, 2),
    "skewed-k10": partial(tails.log_gamma, 10),
}
