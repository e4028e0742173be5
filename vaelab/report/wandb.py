"""Weights & Biases: its files in DIR/wandb/, offline, which `wandb sync` sends where a user has an account.

Each launch leaves a folder `offline-run-TIME-ID` of its own with the same id, and W&B makes one run of them.
Its step is the step over all stages, which only grows; `STAGE/step` is that of the stage.
"""

import os
import secrets
from collections.abc import Mapping

from vaelab.report.tracked import About, Results, Sink

FLUSH_SECONDS = 1.0  # W&B's own are 15: a run that is killed loses what was logged in that time


def place() -> str:
    return ""


def begin(about: About, known: str | None, sweep: str | None) -> Sink:
    """A run of W&B, or the one of the id `known`; those of a sweep are one group."""
    # Offline too, W&B's service would connect to its server, to report errors of its own.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    group = about.sweep or (about.directory if about.kind == "sweep" else None)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "vaelab"),
        id=known or secrets.token_hex(4),
        resume="allow",
        reinit="create_new",  # the runs of a sweep are trained together
        mode=os.environ.get("WANDB_MODE", "offline"),
        dir=os.environ.get("WANDB_DIR", str(about.store.resolve())),
        name=about.name,
        group=None if group is None else "/".join(group.resolve().parts[-2:]),
        job_type=about.kind,
        config=about.config,
        settings=wandb.Settings(
            silent=True,
            console="off",  # else it takes standard output for itself
            disable_git=True,
            disable_code=True,
            x_transaction_log_flush_interval=FLUSH_SECONDS,
        ),
    )
    defined, finished = set(), []

    def write(stage: str, step: int, total: int, values: Mapping[str, float]) -> None:
        if stage not in defined:
            run.define_metric(f"{stage}/step")
            run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
            defined.add(stage)
        named = {f"{stage}/{name}": value for name, value in values.items()}
        # Without commit it is written as the next one comes, and lost where the run is killed before.
        run.log({**named, f"{stage}/step": step}, step=total, commit=True)

    def finish(results: Results) -> None:
        run.summary.update(dict(results.statistics))
        shown = {f"pictures/{path.stem}": wandb.Image(str(path)) for path in results.pictures}
        if shown:
            run.log(shown, step=results.total + 1)
        page = wandb.Artifact(f"page-{run.id}", type="report")
        # As it is: W&B would copy it to a folder in the home directory, and forget it there.
        page.add_file(str(results.page.resolve()), policy="immutable")
        run.log_artifact(page)
        finished.append(True)

    def close() -> None:
        run.finish(exit_code=0 if finished else 1)

    return Sink(run.id, write, finish, close, delay=2 * FLUSH_SECONDS)
