"""Settings that older run directories do not have."""

import json

import pytest

from vaelab.config import defaults
from vaelab.runtime.later import LATER


@pytest.mark.parametrize("path", LATER)
def test_a_younger_setting_is_at_its_default_what_older_runs_had(path):
    value = defaults.get_config()
    for name in path.split(".")[1:]:
        value = value[name]
    assert json.loads(json.dumps(value)) == LATER[path]
