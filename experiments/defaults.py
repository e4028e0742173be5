"""Every setting there is, with its default; an experiment starts from here and changes what it is about."""

from collections.abc import Callable

from ml_collections import ConfigDict

from vaelab.config.defaults import evaluate, evidence, inference, optimizer, posterior


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0

    config.data = ConfigDict()
    config.data.name = "digits"  # digits, mnist, fashion_mnist, kmnist, omniglot, binarized_mnist
    config.data.data_dir = "~/tensorflow_datasets"  # where `python -m vaelab.prepare` put it
    config.data.observation = "binarize"  # binarize, dequantize, rescale
    # each_step: training draws x anew from the stored example; once: it sees the x of the evaluation.
    config.data.observe = "each_step"
    config.data.seed = 0  # of what is observed once
    config.data.num_train = 0  # the first so many training examples; 0 is all

    config.model = ConfigDict()
    config.model.name = "decoder"  # decoder, linear_gaussian
    config.model.learn = True  # False: the model stays as it was initialised
    config.model.latent_dim = 10
    config.model.network = "mlp"  # mlp, convolutional
    config.model.channels = (32, 64)  # convolutional only: one layer of stride 2 each
    config.model.hidden = (200, 200)  # convolutional: one width
    config.model.activation = "relu"  # relu, tanh, elu, softplus, swish
    config.model.likelihood = ConfigDict()
    # bernoulli; gaussian, gaussian_one_variance (observation=dequantize); discretized_logistic (rescale)
    config.model.likelihood.name = "bernoulli"
    config.model.likelihood.min_variance = 1e-3  # gaussian only: the floor of each dimension's variance

    config.encoder = ConfigDict()
    config.encoder.network = "mlp"  # mlp, convolutional
    config.encoder.channels = (32, 64)
    config.encoder.hidden = (200, 200)  # () is an affine encoder
    config.encoder.activation = "relu"
    config.encoder.output_scale = 0.01  # variance scale of the last kernel; the last bias is the prior

    config.posterior = posterior()

    config.objective = ConfigDict()
    # elbo, elbo_from_draws, stick_the_landing, beta_elbo, free_bits, iwae, dreg, renyi
    config.objective.name = "elbo"
    config.objective.num_samples = 1
    config.objective.antithetic = False
    config.objective.beta = 1.0  # beta_elbo only: the weight of the KL
    config.objective.warmup_steps = 0  # beta_elbo only: the weight rises from 0 over so many steps
    config.objective.min_kl = 0.0  # free_bits only: nats a datapoint
    config.objective.alpha = 0.5  # renyi only

    config.learning = learning()

    config.train = ConfigDict()
    config.train.num_steps = 3000
    config.train.batch_size = 100
    config.train.chunk_size = 250  # steps compiled and run as one
    config.train.evaluate_every = 1000  # steps, a multiple of chunk_size; validation ELBO
    config.train.checkpoint_every = 1000  # steps, a multiple of chunk_size
    config.train.keep_checkpoints = 2
    config.train.validation_samples = 10  # draws for each validation datapoint
    # Steps in a row that may be left out, as their gradient is not finite; 0 stops at the first.
    config.train.max_skipped = 0
    # At most so many devices share each batch, which they divide. With 1 the trained model does not depend on
    # how many devices there are; with more it does, by the rounding of each step.
    config.train.devices = 1
    # float32, or bfloat16 for the networks in training; what is measured is always float32
    config.train.dtype = "float32"
    config.train.optimizer = optimizer("adam", clip_norm=200.0)

    # On the trained model, held fixed: an encoder of each family that has none.
    config.refit = ConfigDict()
    config.refit.num_steps = 3000  # 0: no encoder; the family's amortized ELBO is then left out
    config.refit.families = ()  # of inference.families; () is all of them

    config.evaluate = evaluate()
    config.inference = inference()
    config.evidence = evidence()
    return config


def learning() -> ConfigDict:
    """Where the phi of a training datapoint comes from."""
    config = ConfigDict()
    # amortized: the encoder. mean_field: a row of a table for each datapoint. semi_amortized: some steps of
    # `local` from the encoder.
    config.regime = "amortized"
    config.expect_steps = 5  # mean_field: steps of `local` on the rows of a batch, then
    config.model_steps = 1  # gradient steps on the model with these rows held fixed, or
    config.at_once = False  # with the rows as they were before
    config.refinements = 5  # semi_amortized; they climb the ELBO under any objective
    # semi_amortized: the gradient of the refined bound through all steps; else the encoder learns by its own
    # bound, and the model by the refined one.
    config.unrolled = True
    config.local = ConfigDict()
    config.local.objective = ConfigDict({"name": "stick_the_landing", "num_samples": 2, "antithetic": True})
    # Its schedule spans the steps that a row takes in all (mean_field), or the refinements.
    config.local.optimizer = optimizer("natural_gradient", learning_rate=0.3, schedule="cosine")
    return config


def study_gaps(config: ConfigDict) -> None:
    """Makes a config measure one family's gaps on 360 training and 360 test datapoints."""
    config.inference.families = (config.posterior.family,)
    config.refit.num_steps = 0
    config.evaluate.splits = ("train", "test")
    config.evaluate.max_points = 360
    config.evidence.num_samples = 2000
    config.train.evaluate_every = config.train.checkpoint_every = config.train.num_steps


def sweep(*axes: tuple, num_seeds: int) -> ConfigDict:
    """Every combination of the axes, each (name, values) or (names, tuples of values), with so many seeds.

    names are dotted settings of the config. The seeds of each are trained as one program, and with them the
    places that differ only in numbers that such a program takes as arguments.
    """
    config = ConfigDict({"axes": axes, "num_seeds": num_seeds})
    # The axes whose places are one program: auto is all of those that can be.
    config.one_program = ("auto",)
    config.memory_bytes = 2**32  # as many runs are trained at once as fit
    return config


def apply_variant(config: ConfigDict, variant: str, **variants: Callable[[ConfigDict], None]) -> ConfigDict:
    """Makes the named changes, one or several with commas; raises ValueError for a name that there is not.

    In the order of the names, but for smoke, which comes last: it makes little of what the others ask for,
    and is in the config, which has no such setting otherwise, for what is printed to say so.
    """
    names = variant.split(",") if variant else []
    for name in sorted(names, key=lambda name: name == "smoke"):
        if name not in variants:
            raise ValueError(f"unknown variant {name!r}; there are {', '.join(variants)}")
        variants[name](config)
        if name == "smoke":
            config.smoke = True
    return config


def shrink(config: ConfigDict) -> None:
    """Makes any experiment a matter of seconds; what it prints is then of no value."""
    config.train.num_steps = 40
    config.train.optimizer.warmup_steps = 0
    config.train.chunk_size = 20
    config.train.evaluate_every = 20
    config.train.checkpoint_every = 20
    config.refit.num_steps = min(config.refit.num_steps, 20)
    config.evaluate.max_points = 16
    config.evaluate.elbo_samples = 20
    config.evaluate.inference_times = config.evaluate.inference_times[:2]
    config.inference.diagonal.num_steps = 10
    config.inference.gaussian.num_steps = 20
    config.inference.flow.num_steps = 20
    config.evidence.num_samples = 200
    config.evidence.annealing.num_temperatures = 10
    config.evidence.annealing.num_chains = 4
    config.evidence.smc.num_particles = 16
    config.evidence.smc.max_temperatures = 20
    if "sweep" in config:
        config.sweep.num_seeds = 2
        config.sweep.axes = tuple((names, values[:2]) for names, values in config.sweep.axes)
