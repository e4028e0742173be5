"""What a tracker is told of a run."""

from pathlib import Path

from vaelab.report.tracked import About


def test_the_runs_of_a_sweep_keep_their_files_in_one_place():
    sweep = Path("runs/priors")
    assert About(sweep / "a" / "seed=0", "a", "run", {}, sweep).store == sweep
    assert About(Path("runs/one"), "one", "run", {}).store == Path("runs/one")
