"""log p(x), for one datapoint; each estimator names the direction of its bias."""

from vaelab.evidence.importance import Proposal, importance_sampling, member, student_t
from vaelab.evidence.weights import Evidence

__all__ = ["Evidence", "Proposal", "importance_sampling", "member", "student_t"]
