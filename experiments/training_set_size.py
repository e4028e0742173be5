"""How do the gaps on training and on new data change with the size of the training set?

    python launch.py --config=experiments/training_set_size.py --workdir=runs/training_set_size

Digits, diagonal q, the same number of steps for each size; five seeds of each.

Measured on two CPU cores, beside other work, 287 s; nats, mean ± standard error over five seeds:

    N      amortization gap, train   test             generalization gap of L[q_phi]   log p(x), test
    100    0.337 ± 0.010             0.461 ± 0.006    3.277 ± 0.026                    -23.705 ± 0.017
    200    0.285 ± 0.008             0.358 ± 0.005    1.983 ± 0.030                    -23.310 ± 0.022
    400    0.271 ± 0.007             0.315 ± 0.008    1.272 ± 0.018                    -23.149 ± 0.014
    800    0.257 ± 0.009             0.280 ± 0.008    0.811 ± 0.024                    -23.041 ± 0.026
    1,257  0.262 ± 0.008             0.279 ± 0.009    0.601 ± 0.013                    -22.870 ± 0.019

The encoder generalizes nearly as far as the decoder: of the generalization gap at N = 100 only 0.12 nats
are the amortization gap's, which is larger on new images.

Variant: smoke.
"""

from vaelab.config import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.sweep = defaults.sweep(("data.num_train", (100, 200, 400, 800, 1257)), num_seeds=5)
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
