#!/usr/bin/env bash
# Pillow: rotating or warping a 16-bit image with interpolation gives a 16-bit image with values below 256
#
# Expected: `Image.rotate` and `Image.transform` with BILINEAR or BICUBIC on mode "I;16", the mode in which Pillow
#   opens a 16-bit grey PNG or TIFF (microscopy, radiology, depth), agree with the same operation in float32 (mode
#   "F") up to rounding, as `resize` does, or raise an error as `thumbnail` does.
# Seen: with NEAREST they agree. With BILINEAR and BICUBIC each byte seems to be taken for a pixel: of a ramp with
#   values from 20,000 to 39,939 the result has values from 0 to 255 only, in the mode and dtype of the original and
#   without a warning. Standardised afterwards, as images are for training, it does not show.
# Versions: Pillow 13.0.0 with numpy 2.4.6.
# Instead: `image.convert("I")` or `convert("F")` before any transform with interpolation.
# Output:
#   Pillow 13.0.0 numpy 2.4.6
#   values from 20000 to 39939
#   rotate by 10 degrees, NEAREST: mode I;16, from 25025 to 34914, wrong by up to 100.0
#   rotate by 10 degrees, BILINEAR: mode I;16, from 7 to 241, wrong by up to 34780.0
#   rotate by 10 degrees, BICUBIC: mode I;16, from 0 to 255, wrong by up to 34779.0
#   shift by half a pixel, NEAREST: mode I;16, from 24867 to 35386, wrong by up to 0.0
#   shift by half a pixel, BILINEAR: mode I;16, from 60 to 168, wrong by up to 35188.5
#   shift by half a pixel, BICUBIC: mode I;16, from 17 to 211, wrong by up to 35191.5
#   resize to 96, NEAREST: mode I;16, from 26280 to 33659, wrong by up to 157.0
#   resize to 96, BILINEAR: mode I;16, from 26308 to 33631, wrong by up to 0.7
#   resize to 96, BICUBIC: mode I;16, from 26308 to 33631, wrong by up to 0.6
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6

"$work/venv/bin/python" - <<'PY'
import sys

import numpy as np
import PIL
from PIL import Image

SIDE = 128
rows, columns = np.mgrid[:SIDE, :SIDE]
ramp = 20_000 + 100 * columns + 57 * rows
print("Pillow", PIL.__version__, "numpy", np.__version__)
print("values from", ramp.min(), "to", ramp.max())

OPERATIONS = {
    "rotate by 10 degrees": lambda image, how: image.rotate(10, how),
    "shift by half a pixel": lambda image, how: image.transform(image.size, Image.Transform.AFFINE, (1, 0, 0.5, 0, 1, 0.5), how),
    "resize to 96": lambda image, how: image.resize((96, 96), how),
}
wrong = []
for name, operation in OPERATIONS.items():
    for how in (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC):
        result = operation(Image.fromarray(ramp.astype(np.uint16)), how)
        # the middle, which no operation fills with zeros
        middle = np.asarray(result).astype(float)[30:-30, 30:-30]
        reference = np.asarray(operation(Image.fromarray(ramp.astype(np.float32)), how))[30:-30, 30:-30]
        error = np.abs(middle - reference).max()
        print(f"{name}, {how.name}: mode {result.mode}, from {middle.min():.0f} to {middle.max():.0f}, wrong by up to {error:.1f}")
        # nearest may choose the neighbour, which differs by 157 at most
        broken = not name.startswith("resize") and how != Image.Resampling.NEAREST
        if broken != (middle.max() < 256) or (not broken and error > 160):
            wrong.append(f"{name} with {how.name} is wrong by up to {error:.1f}")
sys.exit("changed: " + "; ".join(wrong) if wrong else 0)
PY
