"""What does a richer family buy, and what does it cost in amortization?

    python launch.py --config=experiments/posterior_family.py --workdir=runs/posterior_family

Digits; one model trained with each family, which is also the one fitted locally; five seeds of each. log p(x)
is weighed from that family's q*. 180 images of each split.

Variant: smoke.
"""

from experiments import defaults

FAMILIES = ("diagonal", "low_rank", "cholesky", "full", "real_nvp", "iaf")


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.objective.name = "elbo_from_draws"  # that every family has
    config.posterior.flow.num_layers = 2
    config.evaluate.max_points = 180  # a flow takes Adam, and minutes
    places = tuple((name, (name,)) for name in FAMILIES)
    config.sweep = defaults.sweep((("posterior.family", "inference.families"), places), num_seeds=5)
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
