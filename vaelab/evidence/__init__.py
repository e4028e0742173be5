"""log p(x), for one datapoint; each estimator names the direction of its bias."""

from vaelab.evidence.choose import Choice, choose_estimator, estimate_log_evidence, judge
from vaelab.evidence.estimator import Estimator, by_annealing, by_importance, by_quadrature, by_smc
from vaelab.evidence.importance import Proposal, importance_sampling, member, student_t
from vaelab.evidence.weights import Evidence

__all__ = [
    "Choice",
    "Estimator",
    "Evidence",
    "Proposal",
    "by_annealing",
    "by_importance",
    "by_quadrature",
    "by_smc",
    "choose_estimator",
    "estimate_log_evidence",
    "importance_sampling",
    "judge",
    "member",
    "student_t",
]
