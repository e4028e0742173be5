"""What does inference lose on counts of cells, and what does the library size do?

    python launch.py --config=experiments/counts.py --workdir=runs/counts

Made counts of 80 genes in 2,000 cells of five types; negative binomial, the encoder a network of log(1 + x),
10 latents, one layer of 128 units: the architecture of scVI (Lopez et al. 2018), but that a dispersion is the
decoder's, and not one of each gene. With the library size given, as there, and without; three seeds of each.
200 test cells. The two log p(x) are of different things: given its total x has less to be told.

Not measured yet.

Variants: smoke.
"""

from vaelab.config import defaults

CONDITIONS = ("none", "library_size")


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.data.name = "made_cells"
    config.data.observation = "identity"
    config.model.likelihood.name = "negative_binomial"
    config.model.hidden = config.encoder.hidden = (128,)
    config.encoder.log1p = True
    config.inference.families = ("diagonal", "full")
    config.evaluate.splits = ("test",)
    config.evaluate.max_points = 200
    config.sweep = defaults.sweep(("model.condition.name", CONDITIONS), num_seeds=3)
    return defaults.apply_variant(config, variant, smoke=smoke)


def smoke(config):
    defaults.shrink(config)
    config.inference.families = ("diagonal",)
