"""Does a richer posterior family make a better VAE? One model trained with each family, the gaps of each.

    python launch.py --config=experiments/mnist_families.py:FAMILY --workdir=runs/mnist_FAMILY

FAMILY is diagonal, full, cholesky, low_rank (of rank 5), real_nvp or iaf (two layers of 64 hidden units). The
settings are those of mnist_gap.py but for 2,000 draws of evidence; the flows are trained with the ELBO from
draws, as they have no closed-form KL. The full family is fitted locally beside each, as a better proposal for
log p(x).

Variants: the families; smoke.
"""

from functools import partial

from experiments import defaults, mnist_gap

FAMILIES = ("diagonal", "full", "cholesky", "low_rank", "real_nvp", "iaf")


def get_config(variant: str = ""):
    config = mnist_gap.get_config()
    config.refit.num_steps = 0
    config.evidence.num_samples = 2000
    config.posterior.rank = 5
    config.posterior.flow.num_layers = 2
    config.posterior.flow.hidden = 64
    config.inference.families = ("diagonal", "full")
    variants = {name: partial(_take, family=name) for name in FAMILIES}
    return defaults.apply_variant(config, variant, smoke=defaults.shrink, **variants)


def _take(config, family: str) -> None:
    config.posterior.family = family
    config.inference.families = (family,) if family == "full" else (family, "full")
    if family in ("real_nvp", "iaf"):
        config.objective.name = "elbo_from_draws"
