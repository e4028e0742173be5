#!/usr/bin/env bash
# normflows: the log-density of the base distribution `GaussianPCA` is not that of any Gaussian
#
# Expected: a "Gaussian distribution resulting from linearly mapping a normal distributed latent variable" with a
#   noise level sigma is N(loc, W^T W + sigma^2 I), probabilistic PCA: log_prob is -D/2 log 2 pi - 1/2 log det - 1/2
#   of the squared Mahalanobis distance, exp of it integrates to one, and draws have that covariance.
# Seen: log_prob has +D/2 log 2 pi, and the determinant where its logarithm belongs. In two dimensions it integrates
#   to 20.0 for one W and to 15.6 for another; the mean over exact draws is 3.0 nats too high. Fitted by maximum
#   likelihood it settles at another covariance, S / det(S)^(1/3) in two dimensions for data with covariance S: here
#   1.37 times too wide. Draws have no noise sigma: they lie in the K-dimensional plane.
# Versions: normflows 1.7.3 with torch 2.13.0 (a CPU build is enough) and numpy 2.4.6.
# Instead: `torch.distributions.LowRankMultivariateNormal(loc, W.T, sigma**2 * ones)`.
# Output:
#   normflows 1.7.3 torch 2.13.0+cpu
#   W = [[1.0, 0.5]], sigma = 0.5: log_prob integrates to 20.043 (exact 1.000), mean over exact draws 0.650 (exact -2.348); variance of draws across W 0.0000 (exact 0.25)
#   W = [[0.5, 0.5]], sigma = 0.5: log_prob integrates to 15.566 (exact 1.000), mean over exact draws 0.742 (exact -2.003); variance of draws across W 0.0000 (exact 0.25)
#   covariance fitted by maximum likelihood: 1.370 times that of the data (predicted 1.387)
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet normflows==1.7.3 torch==2.13.0 numpy==2.4.6

"$work/venv/bin/python" -W ignore - <<'PY'
import importlib.metadata
import math
import sys

import normflows
import torch

torch.manual_seed(0)
print("normflows", importlib.metadata.version("normflows"), "torch", torch.__version__)


def base_and_exact(loadings, sigma):
    loadings = torch.tensor(loadings)
    base = normflows.distributions.GaussianPCA(loadings.shape[1], latent_dim=loadings.shape[0], sigma=sigma)
    base.W.data = loadings
    noise = sigma**2 * torch.ones(loadings.shape[1])
    return base, torch.distributions.LowRankMultivariateNormal(torch.zeros(len(noise)), loadings.T, noise)


def integral(log_prob):
    axis = torch.linspace(-12, 12, 1201)
    grid = torch.cartesian_prod(axis, axis)
    return float(log_prob(grid).double().exp().sum() * (axis[1] - axis[0]) ** 2)


wrong = []
for loadings in ([[1.0, 0.5]], [[0.5, 0.5]]):
    base, exact = base_and_exact(loadings, 0.5)
    x = exact.sample((100_000,))
    with torch.no_grad():
        totals = integral(base.log_prob), integral(exact.log_prob)
        means = base.log_prob(x).mean().item(), exact.log_prob(x).mean().item()
        draws = base(100_000)[0]
    across = torch.linalg.eigvalsh(torch.cov(draws.T))[0].item()
    print(
        f"W = {loadings}, sigma = 0.5: log_prob integrates to {totals[0]:.3f} (exact {totals[1]:.3f}), mean over exact"
        f" draws {means[0]:.3f} (exact {means[1]:.3f}); variance of draws across W {across:.4f} (exact 0.25)"
    )
    sigma_det = torch.linalg.det(exact.covariance_matrix)
    formula = 4 * math.pi**2 * math.sqrt(sigma_det) * math.exp(-0.5 * sigma_det)
    if abs(totals[0] / formula - 1) > 0.01 or abs(totals[1] - 1) > 0.01 or abs(across) > 1e-3:
        wrong.append(f"integral {totals[0]:.3f} where it was {formula:.3f}, variance across {across:.4f}")

# maximum likelihood of the exact draws' covariance S: the stated density's optimum is S / det(S)^(1/3)
base, exact = base_and_exact([[1.0, 0.5]], 0.5)
covariance = exact.covariance_matrix
x = exact.sample((5_000,))
optimizer = torch.optim.Adam(base.parameters(), lr=0.02)
for _ in range(1_500):
    optimizer.zero_grad()
    (-base.log_prob(x).mean()).backward()
    optimizer.step()
fitted = (base.W.T @ base.W + torch.exp(2 * base.log_sigma) * torch.eye(2)).detach()
ratio = (torch.trace(fitted) / torch.trace(torch.cov(x.T))).item()
predicted = torch.linalg.det(covariance).item() ** (-1 / 3)
print(f"covariance fitted by maximum likelihood: {ratio:.3f} times that of the data (predicted {predicted:.3f})")
if abs(ratio / predicted - 1) > 0.05:
    wrong.append(f"the fitted covariance is {ratio:.3f} times that of the data")
sys.exit("changed: " + "; ".join(wrong) if wrong else 0)
PY
