"""The defaults of the model: N(0, I), and no two models share them."""

from vaelab.config import defaults, model_defaults
from vaelab.model import LIKELIHOODS, PRIORS


def test_they_are_those_of_the_whole():
    assert defaults.get_config().model.to_dict() == model_defaults.model().to_dict()
    assert model_defaults.model().prior.to_dict() == model_defaults.prior().to_dict()
    one, other = model_defaults.model(), model_defaults.model()
    one.prior.num_components = 7
    assert other.prior.num_components == 500


def test_every_setting_of_a_likelihood_and_of_a_prior_has_one():
    model = model_defaults.model()
    assert {name for entry in LIKELIHOODS.values() for name in (*entry.settings, *entry.sizes)} < set(
        model.likelihood
    )
    assert {name for entry in PRIORS.values() for name in entry.sizes} < set(model.prior)
    assert model.prior.name == "standard_normal"
