"""Which level of a hierarchy goes unused, and is it the encoder's doing?

    python launch.py --config=experiments/hierarchy.py --workdir=runs/hierarchy

Digits; one level of 10 latents, two of 10 and 5, three of 10, 5 and 2, with the same decoder 10-200-200-64
of z_1 and one hidden layer of 64 in each level; a diagonal encoder; three seeds of each. 120 test images, at
which the diagonal, the per-level and the full family are fitted beside.

Not measured yet.

Variants: smoke; top_down, an encoder that shares the prior's conditionals (Sonderby et al. 2016).
"""

from vaelab.config import defaults

LEVELS = ((10,), (10, 5), (10, 5, 2))


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.model.prior.name = "hierarchy"
    config.model.prior.levels = (10,)
    config.inference.families = ("diagonal", "per_level", "full")
    config.evaluate.splits = ("test",)
    config.evaluate.max_points = 120
    points = tuple((levels, sum(levels)) for levels in LEVELS)
    config.sweep = defaults.sweep((("model.prior.levels", "model.latent_dim"), points), num_seeds=3)
    return defaults.apply_variant(config, variant, smoke=smoke, top_down=top_down)


def smoke(config):
    defaults.shrink(config)
    config.inference.families = config.inference.families[:1]


def top_down(config):
    config.posterior.family = "top_down"
    config.objective.name = "elbo_from_draws"
    config.inference.families = ("top_down", "diagonal", "per_level", "full")
