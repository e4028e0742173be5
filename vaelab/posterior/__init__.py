"""Families of approximate posteriors: phi -> q(z), each for an encoder and for the inner loop alike.

Gaussian families, z = mu + S eps (`gaussian.py`, `structured.py`):

    diagonal       S = diag(sigma)                                 P = 2K
    full           S dense, unconstrained                          P = K + K^2
    cholesky       S lower triangular, positive diagonal           P = 2K + K(K-1)/2
    low_rank       S S' = D^2 + U U', U of rank r                  P = 2K + K r
    householder    S = H_1 ... H_m diag(sigma), H_i reflections    P = 2K + K m

Flows, z = T(mu + sigma * eps) (`flow.py`): real_nvp, iaf.
"""

from vaelab.posterior.flow import iaf, real_nvp
from vaelab.posterior.gaussian import cholesky, diagonal, full
from vaelab.posterior.structured import householder, low_rank

__all__ = ["cholesky", "diagonal", "full", "householder", "iaf", "low_rank", "real_nvp"]
