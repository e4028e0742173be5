"""The style sheet: contrast, and every variable of it has a colour in both lights."""

import re

import numpy as np
import pytest

from vaelab.report.page.style import DARK, LIGHT, STYLE


def luminance(colour):
    """The relative luminance of WCAG 2.2."""
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_contrast_is_that_of_wcag_aa(palette):
    for name in ("ink", "quiet", "alarm", "approximation", "amortization"):  # links are of the fourth
        for ground in ("paper", "raised"):
            one, other = sorted((luminance(palette[name]), luminance(palette[ground])))
            assert (other + 0.05) / (one + 0.05) >= 4.5, (name, ground)


def test_every_variable_has_a_colour_in_both_lights():
    used = set(re.findall(r"var\(--([a-z]+)\)", STYLE))
    assert used == LIGHT.keys() == DARK.keys()
    for palette in (LIGHT, DARK):
        for name, colour in palette.items():
            assert f"--{name}:{colour};" in STYLE


def test_it_loads_nothing():
    assert not re.search(r"url\(|@import|https?:", STYLE)
