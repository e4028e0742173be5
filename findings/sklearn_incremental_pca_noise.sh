#!/usr/bin/env bash
# scikit-learn: the noise variance of `IncrementalPCA` depends on the batch size, and is several times too small
#
# Expected: `noise_variance_` is documented as the estimated noise covariance of probabilistic PCA (Tipping and
#   Bishop): the mean of the D - K smallest eigenvalues of the data's covariance. Batches may cost some accuracy; the
#   components and their variances below agree with PCA to 1%. It is the observation variance of a linear VAE, and
#   `get_covariance` uses it.
# Seen: each batch is joined to the K kept directions only, so the residuals of all earlier batches are forgotten: the
#   mean is over the last batch's residuals, divided by the number of all datapoints. With 500 datapoints in ten
#   batches it is 9.7 times too small (0.0255; 0.2463 with one batch, 0.25 the truth), and the Gaussian it describes
#   gives held-out data 29 nats less per datapoint. More batches, the smaller. No warning.
# Versions: scikit-learn 1.9.1 with numpy 2.4.6 and scipy 1.17.1.
# Instead: `PCA`; or, with the components of `IncrementalPCA`, (total variance - sum of explained_variance_) / (D -
#   K), where the total is `var_.sum()` (times n / (n - 1)), which the estimator does accumulate correctly.
# Output:
#   scikit-learn 1.9.1 numpy 2.4.6
#   PCA: noise variance 0.2463, held-out -13.30 nats
#   IncrementalPCA, batch_size=500: noise variance 0.2463, held-out -13.30 nats; component variances off by 0.00%; noise variance from var_ 0.2463
#   IncrementalPCA, batch_size=100: noise variance 0.0508, held-out -23.80 nats; component variances off by 0.05%; noise variance from var_ 0.2465
#   IncrementalPCA, batch_size= 50: noise variance 0.0255, held-out -42.73 nats; component variances off by 0.07%; noise variance from var_ 0.2466
#   IncrementalPCA, batch_size= 25: noise variance 0.0132, held-out -80.68 nats; component variances off by 0.13%; noise variance from var_ 0.2468
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1

"$work/venv/bin/python" - <<'PY'
import sys

import numpy as np
import sklearn
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA, IncrementalPCA

NUM_FACTORS, NUM_FEATURES, NUM_POINTS = 3, 12, 500
rng = np.random.default_rng(0)
loadings = rng.normal(size=(NUM_FEATURES, NUM_FACTORS))


def draw(count):
    factors = rng.normal(size=(count, NUM_FACTORS))
    return factors @ loadings.T + 0.5 * rng.normal(size=(count, NUM_FEATURES)) + 3


train, test = draw(NUM_POINTS), draw(200)
whole = PCA(NUM_FACTORS).fit(train)
print("scikit-learn", sklearn.__version__, "numpy", np.__version__)
print(f"PCA: noise variance {whole.noise_variance_:.4f}, held-out {whole.score(test):.2f} nats")
ratio, loss, repaired = {}, {}, {}
for size in (500, 100, 50, 25):
    pca = IncrementalPCA(NUM_FACTORS, batch_size=size).fit(train)
    ratio[size] = whole.noise_variance_ / pca.noise_variance_
    held_out = multivariate_normal(pca.mean_, pca.get_covariance()).logpdf(test).mean()
    loss[size] = whole.score(test) - held_out
    total = pca.var_.sum() * NUM_POINTS / (NUM_POINTS - 1)
    repaired[size] = (total - pca.explained_variance_.sum()) / (NUM_FEATURES - NUM_FACTORS)
    off = np.abs(pca.explained_variance_ / whole.explained_variance_ - 1).max()
    print(
        f"IncrementalPCA, batch_size={size:3d}: noise variance {pca.noise_variance_:.4f}, held-out {held_out:.2f} nats;"
        f" component variances off by {off:.2%}; noise variance from var_ {repaired[size]:.4f}"
    )

wrong = []
if abs(ratio[500] - 1) > 1e-6:
    wrong.append(f"one batch gives a noise variance {ratio[500]:.4f} times too small")
if not (ratio[100] > 3 and ratio[50] > 8 and ratio[25] > 15):
    wrong.append(f"noise variances are too small by {ratio}")
if not loss[50] > 20:
    wrong.append(f"held-out loss with batches of 50 is {loss[50]:.2f} nats")
if max(abs(value / whole.noise_variance_ - 1) for value in repaired.values()) > 0.02:
    wrong.append(f"the noise variance from var_ is {repaired}")
sys.exit("changed: " + "; ".join(wrong) if wrong else 0)
PY
