"""Entries of a row beside its gaps, as `measure` makes them, of numbers that can be known again."""

import numpy as np

from vaelab.measure import by_group, units
from vaelab.measure.gap import Gap
from vaelab.report import MEASURED


def stat(mean, stderr=0.001):
    return {"mean": mean, "stderr": stderr}


def between(lower, upper):
    return {"lower": stat(lower), "upper": stat(upper)}


def entries(latent_dim=3, *, encoder=True):
    """diagnostics, amortization_split, correlations, bits_per_dim of a row."""
    variances = [stat(0.5 / (1 + 10 * k)) for k in range(latent_dim - 1)] + [stat(0.0101, 0.001)]
    kls = [stat(0.31 * (k + 1)) for k in range(latent_dim)]
    row = {
        "diagnostics": {
            "of": "encoder" if encoder else "q*",
            "num_points": 40,
            "rate_by": "closed form",
            "rate": stat(4.321),
            "distortion": stat(18.765),
            "kl_within": stat(0.2345),
            "kl_by_dimension": kls,
            "variance_of_means": variances,
            "active_units": {"by_variance": units.active(variances), "by_kl": units.active(kls)},
            "aggregate": {
                "num_points": 40,
                "num_draws": 4,
                "log_num_points": float(np.log(40)),
                "unknown_marginal": "prior",
                "mutual_information": between(3.611, 4.322),
                "marginal_kl": between(0.0, 0.711),
                "total_correlation": between(0.111, 0.599),
                "dimension_wise_kl": between(0.011, 0.077),
            },
        },
        "bits_per_dim": {"levels": 256, "dequantized": True, "log_evidence": stat(3.456)},
        "correlations": {
            "beside": "full",
            "num_points": 40,
            "gap": stat(0.1234),
            "pairs": [{"latents": [0, 2], **stat(0.0987)}],
            "pairs_total": stat(0.1111),
            "higher_order": stat(0.0222),
            "not_gaussian": stat(-0.0099),
        },
    }
    if encoder:
        row["amortization_split"] = {
            "num_points": 32,
            "num_draws": 16,
            "gap": stat(0.777),
            "mean": stat(0.555),
            "scale": stat(0.222),
            "mean_first": {"mean": stat(0.551), "scale": stat(0.226)},
            "scale_first": {"mean": stat(0.559), "scale": stat(0.218)},
            "interaction": stat(-0.008),
            "by_dimension": {
                "mean": [stat(0.185 - 0.3 * (k == 1)) for k in range(latent_dim)],
                "scale": None,
                "remainder": stat(0.0031),
            },
        }
    return row


def grouped(log_evidence_N, optimal_N, amortized_N, label_N, *, encoder=True):
    """by_label, by_log_evidence and extremes of a row."""
    made = {"label": by_group.by_label(label_N), "log_evidence": by_group.by_quantile(log_evidence_N)}
    used = {name: groups for name, groups in made.items() if groups is not None}
    gap = Gap(amortized_N, optimal_N, log_evidence_N)
    errors = dict.fromkeys(MEASURED, np.full(len(log_evidence_N), 0.01))
    used_N = np.ones(len(log_evidence_N), bool)
    return by_group.entries(gap, used_N, used, has_encoder=encoder, errors=errors)
