"""The defaults, which moved to `vaelab.config`: experiments written before still import them from here."""

from vaelab.config.defaults import *  # noqa: F403
