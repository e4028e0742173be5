"""docs/tpu.sh, with a stand-in for gcloud that writes down what it is asked."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = {"TPU_NAME": "slice", "ZONE": "zone-a"}


@pytest.fixture
def script(tmp_path):
    gcloud, asked = tmp_path / "gcloud", tmp_path / "asked"
    gcloud.write_text(f'#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word"; done >> {asked}\n')
    gcloud.chmod(0o755)

    def run(*arguments, **env):
        done = subprocess.run(
            [ROOT / "docs" / "tpu.sh", *arguments],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path), **env},
            capture_output=True,
            text=True,
            check=False,
        )
        return done, asked.read_text().split("\0")[:-1] if asked.exists() else []

    return run


def test_a_slice_is_made_and_given_back(script):
    done, asked = script("create", **NAMED, ACCELERATOR_TYPE="v5", RUNTIME_VERSION="r", CREATE_FLAGS="--spot")
    assert done.returncode == 0, done.stderr
    assert asked[:4] == ["compute", "tpus", "tpu-vm", "create"]
    assert asked[4:] == ["slice", "--zone=zone-a", "--accelerator-type=v5", "--version=r", "--spot"]
    done, asked = script("delete", **NAMED)
    assert asked[-3:] == ["delete", "slice", "--zone=zone-a"]


def test_every_host_gets_the_commit_and_the_jax_that_is_pinned(script, tmp_path):
    done, asked = script("install", **NAMED)
    assert done.returncode == 0, done.stderr
    assert asked.count("--worker=all") == 2
    command = asked[-1].removeprefix("--command=")
    (tmp_path / "vaelab").mkdir()
    uv = tmp_path / ".local" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    list_or_note = f'case "$2" in list) echo jax==1.2.3 ;; *) echo "$@" >> {tmp_path}/uv ;; esac'
    for path, content in {tmp_path / "tar": "", tmp_path / "python3": "", uv: list_or_note}.items():
        path.write_text(f"#!/bin/sh\n{content}\n")
        path.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    subprocess.run(["bash", "-c", command], cwd=tmp_path, env=env, check=True)
    assert (tmp_path / "uv").read_text().splitlines() == [
        "venv --quiet --clear --python 3.11 .venv",
        "pip install --quiet --python .venv -r requirements.txt",
        "pip install --quiet --python .venv jax[tpu]==1.2.3",
    ]


def test_flags_reach_every_host_as_they_were_given(script):
    flags = ["--config=experiments/a.py:smoke", "--config.model.hidden=(10, 20)", "--workdir=runs/it's"]
    done, asked = script("launch", *flags, **NAMED)
    assert done.returncode == 0, done.stderr
    assert "--worker=all" in asked
    start = "--command=cd vaelab && echo $$ > launch.pid && exec .venv/bin/python launch.py "
    assert asked[-1].startswith(start)
    command = asked[-1].removeprefix(start)
    assert shlex.split(command) == flags


def test_a_run_is_collected_from_the_first_host(script, tmp_path):
    done, asked = script("collect", "runs/one", str(tmp_path / "here" / "one"), **NAMED)
    assert done.returncode == 0, done.stderr
    assert asked[-3:] == ["--worker=0", "slice:vaelab/runs/one", str(tmp_path / "here" / "one")]


def test_nothing_here_is_written_over(script, tmp_path):
    (tmp_path / "one").mkdir()
    done, asked = script("collect", "runs/one", str(tmp_path / "one"), **NAMED)
    assert done.returncode == 2
    assert "is there already: name another DIR" in done.stderr
    assert asked == []


def test_every_host_is_told_to_stop(script):
    done, asked = script("stop", **NAMED)
    assert done.returncode == 0, done.stderr
    assert asked[-2:] == ["--worker=all", '--command=kill -TERM "$(cat vaelab/launch.pid)"']


@pytest.mark.parametrize(
    ("arguments", "env", "line"),
    [
        (["create"], {}, "docs/tpu.sh: set TPU_NAME\n"),
        (["create"], NAMED, "docs/tpu.sh: set ACCELERATOR_TYPE\n"),
        (["launch"], NAMED, "docs/tpu.sh launch FLAGS..."),
        (["lunch"], NAMED, "docs/tpu.sh launch FLAGS..."),
        ([], NAMED, "docs/tpu.sh launch FLAGS..."),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_asked_for(arguments, env, line, script):
    done, asked = script(*arguments, **env)
    assert done.returncode == 2
    assert line in done.stderr
    assert asked == []
