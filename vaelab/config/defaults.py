"""The settings of what is measured, with their defaults: of every experiment, and of an audit."""

from ml_collections import ConfigDict


def posterior() -> ConfigDict:
    """The families of q(z)."""
    config = ConfigDict()
    # diagonal, full, cholesky, low_rank, householder, real_nvp, iaf
    config.family = "diagonal"
    config.rank = 5  # low_rank only
    config.num_reflections = 5  # householder only
    config.flow = ConfigDict({"num_layers": 4, "hidden": 64})  # real_nvp and iaf only
    return config


def evaluate() -> ConfigDict:
    """What is measured, and in what portions."""
    config = ConfigDict()
    config.splits = ("test",)  # of train, validation, test, simulated, corrupted
    # Of corrupted: the part of a test example's dimensions that come from another test example.
    config.corruption = 0.1
    config.max_points = 1000  # the first so many of each split; 0 is all
    config.elbo_samples = 200  # draws for each reported bound of a datapoint
    # As many datapoints at a time as fit. On an accelerator take much more; on a CPU the caches set the pace.
    config.memory_bytes = 2**26
    # ELBO and time of the trained family after so many steps each, from the encoder and from the prior.
    config.inference_times = ()
    config.points_per_save = 2000  # a run that is killed loses the work on so many, of a sweep for each run
    return config


def inference() -> ConfigDict:
    """How q* is found."""
    config = ConfigDict()
    config.families = ("diagonal", "full")
    # encoder, prior, both: of both, the better on draws of their own
    config.start = "encoder"
    config.max_rounds = 3  # of the loop below, for datapoints that have not converged before
    config.tolerance = 0.05  # nats
    config.diagonal = local_loop(40, "elbo", optimizer("quasi_newton", learning_rate=0.5, schedule="cosine"))
    # Of the other Gaussian families.
    config.gaussian = local_loop(
        100, "stick_the_landing", optimizer("natural_gradient", learning_rate=0.2, schedule="cosine")
    )
    # Of flows, which have no natural gradient.
    config.flow = local_loop(
        500, "stick_the_landing", optimizer("adam", learning_rate=3e-3, schedule="cosine", b2=0.99)
    )
    return config


def evidence() -> ConfigDict:
    """How log p(x) is estimated."""
    config = ConfigDict()
    # importance, student_t, annealing, smc, quadrature (latent_dim <= 2);
    # auto: quadrature for latent_dim <= 2, else the best of a pilot
    config.estimator = "importance"
    config.pilot_points = 20  # auto only
    config.proposals = "optima"  # optima (the q* of all families), encoder, both
    config.num_samples = 5000  # of importance and student_t
    # Draws of a datapoint at a time, here and for elbo_samples: bounds the memory; both numbers of draws
    # are rounded up to whole portions.
    config.draw_chunk_size = 100
    config.degrees_of_freedom = 10  # student_t only
    config.annealing = ConfigDict()
    config.annealing.start = "optimum"  # of the richest Gaussian family; prior
    config.annealing.schedule = "equal_length"  # linear, sigmoid, equal_length (from a pilot)
    config.annealing.num_temperatures = 400
    config.annealing.num_chains = 32
    config.annealing.num_leapfrogs = 2
    config.annealing.target_acceptance = 0.8
    config.annealing.pilot_temperatures = 40
    config.annealing.pilot_chains = 16
    config.smc = ConfigDict()
    config.smc.num_runs = 8
    config.smc.num_particles = 64
    config.smc.num_moves = 2
    config.smc.num_leapfrogs = 2
    config.smc.wanted_size = 0.9  # effective size of the weights of one step, as a share
    config.smc.max_temperatures = 100
    config.quadrature = ConfigDict({"num_nodes": 65, "half_width": 8.0})
    # Of the two bounds on simulated data, nats: the run says how many temperatures it takes.
    config.wanted_width = 0.1
    return config


def optimizer(name: str, **changes) -> ConfigDict:
    """An optax optimizer under a schedule over the loop's own steps; all settings are there for any name."""
    config = ConfigDict()
    # adam, adamw; in the inner loop of Gaussian families natural_gradient, along F^-1 grad with F the Fisher
    # information of q, and quasi_newton, with the curvature of the bound for the mean.
    config.name = name
    config.learning_rate = 1e-3
    # From warm-up to final_scale: constant, cosine, linear, exponential; powers_of_three, in eight stages,
    # each three times as long as the last.
    config.schedule = "constant"
    config.final_scale = 0.0  # last learning rate as a part of the first; not 0 for the last two
    config.warmup_steps = 0  # linear from 0
    config.b1 = 0.9  # this and the next two: adam, adamw
    config.b2 = 0.999
    config.eps = 1e-8
    config.weight_decay = 0.0  # adamw only
    config.clip_norm = 0.0  # of the global gradient norm; 0 is none
    config.max_norm = 5.0  # of these two: longest step before the learning rate, sqrt(nats)
    config.update(changes)
    return config


def local_loop(num_steps: int, objective: str, optimizer: ConfigDict) -> ConfigDict:
    """The inner loop of one kind of family: steps of `num_samples` draws, up to `max_rounds` times."""
    config = ConfigDict()
    config.num_steps = num_steps
    config.average_last = 0  # so many last iterates, whose mean is the result; 0 takes the last one
    config.certificate_groups = 16  # independent gradients behind the convergence estimate
    config.objective = ConfigDict()
    config.objective.name = objective  # elbo, elbo_from_draws, stick_the_landing
    config.objective.num_samples = 10
    config.objective.antithetic = True
    config.optimizer = optimizer
    return config
