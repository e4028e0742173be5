"""log p(x), for one datapoint; each estimator names the direction of its bias.

    importance sampling       a stochastic lower bound                        `importance`
    annealing with HMC        a stochastic lower bound                        `annealing`
    bidirectional             a lower and an upper one, on simulated data     `bdmc`
    tempered SMC              low in expectation, consistent                  `smc`
    quadrature                exact, for K <= 2                               `quadrature`

`measure.evidence` picks one of them for a split.
"""

from vaelab.evidence.estimator import Estimator, by_annealing, by_importance, by_quadrature, by_smc
from vaelab.evidence.importance import Proposal, importance_sampling, member, student_t
from vaelab.evidence.weights import Evidence

__all__ = [
    "Estimator",
    "Evidence",
    "Proposal",
    "by_annealing",
    "by_importance",
    "by_quadrature",
    "by_smc",
    "importance_sampling",
    "member",
    "student_t",
]
