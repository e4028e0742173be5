"""Which level of a hierarchy goes unused, and is it the encoder that leaves it out?

    python launch.py --config=experiments/hierarchy.py --workdir=runs/hierarchy

Digits; one level of 10 latents, two of 10 and 5, three of 10, 5 and 2, with the same decoder 10-200-200-64
of z_1 and one hidden layer of 64 in each level; a diagonal encoder; three seeds of each. 120 test images, at
which the diagonal, the per-level and the full family are fitted beside.

Measured on two CPU cores beside other work, 17 minutes for the nine runs; means over three seeds, nats:

                           10                  10, 5               10, 5, 2
    log p(x) >=            -23.036 ± 0.005     -22.999 ± 0.024     -22.995 ± 0.024
    amortization gap       0.295 ± 0.012       0.306 ± 0.007       0.294 ± 0.010
    within-level gap       0.152 ± 0.003       0.144 ± 0.010       0.142 ± 0.010
    across-level gap       0.002 ± 0.001       0.013 ± 0.001       0.019 ± 0.001
    non-Gaussian gap       0.151 ± 0.002       0.141 ± 0.001       0.145 ± 0.005
    KL of z1, of q*        4.790, 4.950        4.649, 4.835        4.694, 4.874
    KL of z2, of q*        -                   0.011, 0.013        0.071, 0.070
    KL of z3, of q*        -                   -                   0.001, 0.000

The levels above z1 go unused: no unit of theirs is active. In these models it is not the encoder that leaves
them out: q*, fitted for each datapoint from the encoder's q, uses them as little, in the diagonal and in the
full family. Whether another encoder would have trained a model that uses them was not looked at. Nor do they
cost or gain: log p(x) is 0.04 ± 0.03 above one level's, within its interval of 0.12. What q loses across
levels is a tenth of what it loses within z1, and the 0.002 of one level, where there is nothing across, is
what fits are short of.

Variants: smoke; top_down, an encoder that shares the conditionals (Sonderby et al. 2016; not measured).
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
