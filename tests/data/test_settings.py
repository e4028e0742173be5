"""What a config says of one's own data is what the reader takes without one."""

from vaelab.config import defaults
from vaelab.data.settings import Settings


def test_the_defaults_of_a_config_are_those_of_arrays():
    config = defaults.data()
    assert Settings() == Settings(**{name: config[name] for name in Settings._fields})
