"""The published study of the two gaps, with errors: is it the encoder or the family, and who adapts to whom?

    python launch.py --config=experiments/inference_suboptimality.py --workdir=runs/inference_suboptimality

C. Cremer, X. Li & D. Duvenaud, "Inference Suboptimality in Variational Autoencoders", ICML 2018: MNIST and
Fashion-MNIST, K = 50, networks of 2 x 200 ELU units, batch 100, the learning rate in eight stages of 3^i
parts, Adam with eps 1e-4, a warm-up of the KL. On each data set a model with a diagonal q, one with a
larger encoder (2 x 500), one with a full-covariance q (cholesky) and one with a flow, each measured with
its own family, with the diagonal and with the full one, on training and test images.

Deviations: 20 epochs and not 3,280 (:published has those), the warm-up a tenth of them; data binarised anew
at each step; q* by this code's solver with its certificate; log p(x) from the mixture of all q*.

Measured on two CPU cores, beside other work; tables, and what was seen of each claim, are in
docs/amortization.md.

Variants: smoke (on digits, which need no preparing), published, mnist and fashion_mnist (one data set alone).
"""

from vaelab.config import defaults

EPOCH = 550  # steps
MODELS = (
    ("diagonal", ("diagonal", "full"), (200, 200)),
    ("diagonal", ("diagonal", "full"), (500, 500)),
    ("cholesky", ("cholesky", "diagonal"), (200, 200)),
    ("real_nvp", ("real_nvp", "diagonal", "full"), (200, 200)),
)


def get_config(variant: str = ""):
    config = defaults.get_config()
    config.data.name = "mnist"
    config.model.latent_dim = 50
    config.model.activation = config.encoder.activation = "elu"
    config.posterior.flow.num_layers = 2
    config.objective.name = "beta_elbo"
    schedule = {"schedule": "powers_of_three", "final_scale": 0.1, "eps": 1e-4}
    config.train.optimizer.update(schedule)
    epochs(config, 20)
    config.refit.num_steps = 0
    config.evaluate.splits = ("train", "test")
    config.evaluate.max_points = 200
    config.sweep = defaults.sweep(
        ("data.name", ("mnist", "fashion_mnist")),
        (("posterior.family", "inference.families", "encoder.hidden"), MODELS),
        num_seeds=1,
    )
    return defaults.apply_variant(
        config,
        variant,
        smoke=smoke,
        published=lambda config: epochs(config, 3280),
        mnist=lambda config: one(config, "mnist"),
        fashion_mnist=lambda config: one(config, "fashion_mnist"),
    )


def epochs(config, count: int):
    config.train.num_steps = count * EPOCH
    config.train.chunk_size = EPOCH
    config.train.evaluate_every = config.train.checkpoint_every = max(count // 4, 1) * EPOCH
    config.objective.warmup_steps = count * EPOCH // 10


def one(config, name: str):
    config.sweep.axes = (("data.name", (name,)), config.sweep.axes[1])


def smoke(config):
    defaults.shrink(config)
    config.objective.warmup_steps = 4
    config.sweep.num_seeds = 1
    names, _ = config.sweep.axes[1]
    config.sweep.axes = (("data.name", ("digits",)), (names, MODELS[1:]))
