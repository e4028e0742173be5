"""From what an audit is given to what it measures; and the directory that belongs to it."""

import jax
import numpy as np
import pytest
from rich.console import Console

import vaelab
from tests.audit.test_auditing import MODEL, THETA, D, K, N, encode, log_likelihood, points, run
from vaelab import posterior
from vaelab.audit import auditing
from vaelab.audit.arrays import given_data
from vaelab.audit.checked import Check, NotChecked
from vaelab.audit.given import AuditError, given_choices, given_model
from vaelab.audit.prepared import COMPARED, GIVEN, SIMULATED, _digest, data_lines, looked_up, opened, prepare

QUIET = Console(quiet=True)


def sample(key, z_K):
    return MODEL.sample(THETA, key, z_K)


@pytest.fixture(scope="module")
def prepared():
    given = given_model(log_likelihood, None, encode, sample, None, None, K, 3)
    data = given_data(points(), jax.random.key(2), labels=np.arange(N) % 2)
    choices = given_choices(None, ("diagonal", "full"), "importance", 0.05, {"evaluate.elbo_samples": 100})
    return prepare(given, data, choices)


def test_what_is_prepared_is_what_was_given(prepared):
    assert list(prepared.subjects) == list(prepared.points) == [GIVEN, SIMULATED]
    subject, points_given = prepared.subjects[GIVEN], prepared.points[GIVEN]
    assert subject.amortized == {"diagonal": "encoder"}
    assert list(subject.families) == ["diagonal", "full"]
    np.testing.assert_array_equal(points_given.inputs.x_NxD, points())
    np.testing.assert_array_equal(points_given.label_N, np.arange(N) % 2)
    np.testing.assert_array_equal(prepared.columns["given/labels"], np.arange(N) % 2)
    assert prepared.points[SIMULATED].inputs.x_NxD.shape == (3, D)
    assert prepared.config.given.num_simulated == 3
    assert prepared.config.inference.tolerance == 0.05
    assert prepared.image_shape is None


def test_phi_of_the_encoder_is_that_of_each_datapoint_in_every_family(prepared):
    for split in (GIVEN, SIMULATED):
        subject, inputs = prepared.subjects[split], prepared.points[split].inputs
        phi_NxP = subject.start("diagonal", inputs)
        mu_NxK, sigma_NxK = map(np.asarray, jax.vmap(encode)(inputs.x_NxD))
        np.testing.assert_allclose(phi_NxP, np.concatenate([mu_NxK, np.log(sigma_NxK)], axis=1), rtol=1e-4)
        last = type(inputs)(inputs.x_NxD[-2:], inputs.index_N[-2:])
        np.testing.assert_array_equal(subject.start("diagonal", last), phi_NxP[-2:])


def test_remarks_say_whether_the_density_was_checked_to_be_normalised(prepared):
    (said,) = prepared.remarks
    assert said.startswith("normalisation: exp(")
    unchecked = prepared._replace(lines=[NotChecked("normalisation", "no sample was given")])
    assert unchecked.remarks == ["normalisation: not checked, no sample was given"]


def test_the_lines_of_the_data_name_every_column():
    data = given_data(points(), jax.random.key(0), labels=np.arange(N), weights=np.ones(N))
    assert data_lines(data) == [
        Check("x", "24 datapoints", "numbers, float32[6] each"),
        Check("labels", "24 datapoints", "one for each"),
        Check("weights", "24 datapoints", "one for each"),
    ]


def test_a_directory_is_known_again_by_the_values_of_the_functions(prepared, tmp_path):
    place = tmp_path / "audit"
    with opened(place, prepared, QUIET):
        pass
    looked = looked_up(place, prepared, QUIET)
    assert looked == Check("directory", str(place), "belongs to an audit of the same arguments")
    values = prepared.functions["log_likelihood"]
    rounded = prepared._replace(functions=prepared.functions | {"log_likelihood": values * 1.0001})
    with opened(place, rounded, QUIET):
        pass
    for other in (values + 1.0, values[:-1]):
        changed = prepared._replace(functions=prepared.functions | {"log_likelihood": other})
        with pytest.raises(AuditError, match="belongs to an audit with another log_likelihood"):
            looked_up(place, changed, QUIET)
    late = np.append(np.zeros(COMPARED), 1.0)  # beyond the numbers that are compared
    with opened(tmp_path / "other", prepared._replace(functions={"encode": 0.0 * late}), QUIET):
        pass
    assert looked_up(tmp_path / "other", prepared._replace(functions={"encode": late}), QUIET)


def test_a_directory_that_holds_nothing_stays_as_it_is(prepared, tmp_path):
    assert looked_up(None, prepared, QUIET) == NotChecked("directory", "none was given")
    assert isinstance(looked_up(tmp_path, prepared, QUIET), NotChecked)
    assert not list(tmp_path.iterdir())


def test_a_digest_is_of_values_shapes_and_types():
    x = np.arange(6, dtype=np.float32)
    others = (x + 1, x.reshape(2, 3), x.view(np.int32), {"a": x, "b": x})
    assert _digest(x) == _digest({"a": x.copy()})
    assert len({_digest(tree) for tree in (x, *others)}) == 5
    assert _digest(x.reshape(2, 3).T) != _digest(x.reshape(3, 2))


def test_a_family_without_an_encoder_starts_at_the_law_of_the_encoder(monkeypatch):
    seen = []

    def look(prepared, *_):
        seen.append(prepared)
        return vaelab.Report([], {})

    monkeypatch.setattr(auditing, "_measured", look)
    run(families=("diagonal", "full"))
    (prepared,) = seen
    inputs = prepared.points[auditing.GIVEN].inputs
    phi_NxP = prepared.subjects[auditing.GIVEN].start("full", inputs)
    mu_NxK, scale_NxKxK = map(np.asarray, jax.vmap(posterior.full(K).gaussian.location_scale)(phi_NxP))
    wanted_mu_NxK, sigma_NxK = map(np.asarray, jax.vmap(encode)(points()))
    np.testing.assert_allclose(mu_NxK, wanted_mu_NxK, rtol=1e-5)
    covariance_NxKxK = scale_NxKxK @ np.swapaxes(scale_NxKxK, 1, 2)
    np.testing.assert_allclose(covariance_NxKxK, sigma_NxK[:, :, None] ** 2 * np.eye(K), atol=1e-5)


def test_a_directory_belongs_to_one_sampler_key_and_encoder(tmp_path, monkeypatch):
    nothing = vaelab.Report([], {})
    monkeypatch.setattr(vaelab.Report, "save", lambda self, directory: None)
    monkeypatch.setattr(auditing, "_measured", lambda *arguments: nothing)
    given = {"num_simulated": 4, "directory": tmp_path}
    run(sample=lambda key, z_K: MODEL.sample(THETA, key, z_K), **given)
    with pytest.raises(vaelab.AuditError, match="an audit with another sample"):
        run(sample=lambda key, z_K: MODEL.sample(THETA, jax.random.fold_in(key, 1), z_K), **given)
    given = {"directory": tmp_path / "other"}
    run(**given)
    with pytest.raises(vaelab.AuditError, match=r"config.given.key is"):
        run(key=jax.random.key(3), **given)
    with pytest.raises(vaelab.AuditError, match="an audit with another encode"):
        run(encode=lambda x_D: (encode(x_D)[0], 2.0 * encode(x_D)[1]), **given)
