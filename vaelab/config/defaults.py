"""Every setting there is, with its default; an experiment starts from here and changes what it is about.

    from vaelab.config import defaults

`get_config` has all of them, an audit those of `posterior`, `evaluate`, `inference` and `evidence`.
"""

from ml_collections import ConfigDict

from vaelab.config.model_defaults import model as model
from vaelab.config.model_defaults import prior as prior
from vaelab.config.variants import apply_variant as apply_variant
from vaelab.config.variants import shrink as shrink
from vaelab.config.variants import study_gaps as study_gaps
from vaelab.config.variants import sweep as sweep


def get_config() -> ConfigDict:
    """All settings of a run: digits, a diagonal family, one seed."""
    config = ConfigDict()
    config.seed = 0

    config.data = data()
    config.model = model()
    config.encoder = encoder()
    config.posterior = posterior()

    config.objective = objective()
    config.learning = learning()

    config.train = train()
    # On the trained model, held fixed: an encoder of each family that has none.
    config.refit = ConfigDict()
    config.refit.num_steps = 3000  # 0: no encoder; the family's amortized ELBO is then left out
    config.refit.families = ()  # of inference.families; () is all of them

    config.evaluate = evaluate()
    config.inference = inference()
    config.evidence = evidence()
    # Of tensorboard, wandb (offline) and mlflow, beside metrics.jsonl.
    config.log = ConfigDict({"to": ("tensorboard",)})
    return config


def data() -> ConfigDict:
    """What x is, and which data it comes from."""
    config = ConfigDict()
    config.name = "digits"  # a name of vaelab.data.SOURCES, file, tfds:NAME, huggingface or hf:DIR
    config.data_dir = "~/tensorflow_datasets"  # where `python -m vaelab.prepare` put it
    config.path = ""  # file only: .npy, .npz, .csv, .parquet, .h5ad, or a folder of images
    config.fractions = (0.8, 0.1, 0.1)  # of your own data without splits: train, validation, test
    config.image_shape = ()  # of your own data: (height, width) or (height, width, 3); () is as they are
    config.max_value = 0  # of your own data: the largest level of a pixel; 0 finds it
    config.label = ""  # of your own data: the column or feature with the classes; "" finds it
    config.memory_bytes = 2**28  # your own data larger than this stay on the disk, and batches are read there
    config.observation = "binarize"  # binarize, dequantize, rescale; identity for real numbers
    # each_step: training draws x anew from the stored example; once: it sees the x of the evaluation.
    config.observe = "each_step"
    config.seed = 0  # of what is observed once
    config.num_train = 0  # the first training examples, this many; 0 is all
    return config


def encoder() -> ConfigDict:
    """x -> phi."""
    config = ConfigDict()
    config.network = "mlp"  # mlp, convolutional
    config.channels = (32, 64)  # this and the next three: as of the model
    config.residual = 0
    config.convolution = "products"
    config.alignment = "corner"
    config.hidden = (200, 200)  # () is an affine encoder
    config.activation = "relu"
    config.output_scale = 0.01  # variance scale of the last kernel; the last bias is the prior
    config.log1p = False  # True, for likelihoods of counts: the network sees log(1 + .) of x, and y
    return config


def objective() -> ConfigDict:
    """The bound that training maximises."""
    config = ConfigDict()
    # elbo, elbo_from_draws, stick_the_landing, beta_elbo, free_bits, iwae, dreg, renyi
    config.name = "elbo"
    config.num_samples = 1
    config.antithetic = False
    config.beta = 1.0  # beta_elbo only: the weight of the KL
    config.warmup_steps = 0  # beta_elbo only: the weight rises from 0 over these steps
    config.min_kl = 0.0  # free_bits only: nats a datapoint
    config.alpha = 0.5  # renyi only
    return config


def train() -> ConfigDict:
    """The steps of training, and its optimizer."""
    config = ConfigDict()
    config.num_steps = 3000
    config.batch_size = 100
    config.chunk_size = 250  # steps compiled and run as one
    config.evaluate_every = 1000  # steps, a multiple of chunk_size; validation ELBO
    config.checkpoint_every = 1000  # steps, a multiple of chunk_size
    config.keep_checkpoints = 2
    config.validation_samples = 10  # draws for each validation datapoint
    # Validations without a gain after which a training ends, 0: never. A gain is a validation ELBO above that
    # at the last gain by more than the standard error of their difference over datapoints.
    config.stop_after = 0
    config.keep_best = ""  # validation_elbo: what is measured is the state where it was highest, not the last
    # Steps in a row that may be left out, as their gradient is not finite; 0 stops at the first.
    config.max_skipped = 0
    # The most devices that share each batch, which they divide. With 1 the trained model does not depend on
    # how many devices there are; with more it does, by the rounding of each step.
    config.devices = 1
    # float32, or bfloat16 for the networks in training; what is measured is always float32
    config.dtype = "float32"
    config.optimizer = optimizer("adam", clip_norm=200.0)
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


def posterior() -> ConfigDict:
    """The families of q(z)."""
    config = ConfigDict()
    # diagonal, full, cholesky, low_rank, householder, real_nvp, iaf; of a hierarchy also per_level,
    # bottom_up, top_down
    config.family = "diagonal"
    config.rank = 5  # low_rank only
    config.num_reflections = 5  # householder only
    config.flow = ConfigDict({"num_layers": 4, "hidden": 64})  # real_nvp and iaf only
    return config


def evaluate() -> ConfigDict:
    """What is measured, and in what portions."""
    config = ConfigDict()
    config.splits = ("test",)  # of train, validation, test, simulated, corrupted
    # corrupted: the part of a test example's dimensions that come from another test example.
    config.corruption = 0.1
    config.max_points = 1000  # the first of each split, this many; 0 is all
    config.elbo_samples = 200  # draws for each reported bound of a datapoint
    # What a chunk of datapoints may take; on a CPU two run at once, and the caches set the pace. On an
    # accelerator take much more.
    config.memory_bytes = 2**26
    # Numbers of steps: ELBO and time of the trained family after each, from the encoder and from the prior.
    config.inference_times = ()
    config.points_per_save = 2000  # a kill loses the work on these at most, in a sweep of each run
    # Beside the gaps rate, units, and the aggregate posterior of the first max_points, num_draws of each: its
    # cost grows with the square of max_points.
    config.diagnostics = ConfigDict({"enabled": True, "max_points": 1000, "num_draws": 4})
    # Of the first split_points (0: none) the amortization gap is split into parts, by split_draws.
    config.diagnostics.update({"split_points": 256, "split_draws": 16})
    return config


def inference() -> ConfigDict:
    """How q* is fitted."""
    config = ConfigDict()
    config.families = ("diagonal", "full")
    # encoder, prior, both: the better of both, on draws of their own
    config.start = "encoder"
    config.max_rounds = 3  # of the loop below, for datapoints that have not converged before
    config.tolerance = 0.05  # nats
    config.modes = modes()
    config.diagonal = local_loop(40, "elbo", optimizer("quasi_newton", learning_rate=0.5, schedule="cosine"))
    # The other Gaussian families.
    config.gaussian = local_loop(
        100, "stick_the_landing", optimizer("natural_gradient", learning_rate=0.2, schedule="cosine")
    )
    # Flows, which have no natural gradient.
    config.flow = local_loop(
        500, "stick_the_landing", optimizer("adam", learning_rate=3e-3, schedule="cosine", b2=0.99)
    )
    return config


def modes(**changes) -> ConfigDict:
    """How modes of log p(x, z) other than those of the fits are looked for."""
    config = ConfigDict()
    config.num_starts = 32  # of ascents at a datapoint that is searched; 0: no search
    config.num_steps = 40  # of each ascent, a gradient evaluation each
    config.polish_steps = 4  # of Newton's method at up to max_modes of their ends
    config.num_nodes = 4096  # of a grid of starts, for latent_dim <= 2
    config.max_modes = 12
    config.num_refits = 3  # the most modes at which a family is fitted anew
    # Datapoints that are searched in any case. All others too where one of these has several modes; else they
    # get look_starts ascents of look_steps, and a search where these end beyond a dip.
    config.pilot_points = 8
    config.look_starts = 2
    config.look_steps = 18
    # Of sequential Monte Carlo from the prior's side at each datapoint of the pilot, with the moves of
    # evidence.smc; 0 runs: no such check of log p(x).
    config.num_runs = 4
    config.num_particles = 32
    # A pilot with several modes is searched once more, from this many times the particles; 1: it is not.
    config.growth = 8
    config.update(changes)
    return config


def evidence() -> ConfigDict:
    """How log p(x) is estimated."""
    config = ConfigDict()
    # importance, student_t, annealing, smc, quadrature (latent_dim <= 2);
    # auto: quadrature for latent_dim <= 2, else the best of a pilot
    config.estimator = "importance"
    config.pilot_points = 20  # auto only
    config.proposals = "optima"  # optima (the q* of all families), encoder, both
    config.num_samples = 5000  # importance and student_t
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
    # The width of the two bounds on simulated data, nats: the run says how many temperatures it takes.
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
    config.clip_norm = 0.0  # the most of the global gradient norm; 0 is no limit
    config.max_norm = 5.0  # natural_gradient, quasi_newton: longest step before the learning rate, sqrt(nats)
    config.update(changes)
    return config


def local_loop(num_steps: int, objective: str, optimizer: ConfigDict) -> ConfigDict:
    """The inner loop of one kind of family: steps of `num_samples` draws, up to `max_rounds` times."""
    config = ConfigDict()
    config.num_steps = num_steps
    config.average_last = 0  # the last iterates, whose mean is the result; 0 takes the last one alone
    config.certificate_groups = 16  # independent gradients behind the convergence estimate
    config.objective = ConfigDict()
    config.objective.name = objective  # elbo, elbo_from_draws, stick_the_landing
    config.objective.num_samples = 10
    config.objective.antithetic = True
    config.optimizer = optimizer
    return config
