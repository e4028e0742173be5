#!/usr/bin/env bash
# A run on a Cloud TPU slice of one or many hosts; docs/tpu.md says what each step does.
#
#   docs/tpu.sh create              make the slice
#   docs/tpu.sh install             put this commit, its requirements and libtpu on every host
#   docs/tpu.sh prepare DATA_SET    write an image data set on every host
#   docs/tpu.sh launch FLAGS...     start, or go on with, launch.py FLAGS on every host
#   docs/tpu.sh stop                save what is being trained, and end launch.py on every host
#   docs/tpu.sh collect RUN [DIR]   copy the run directory RUN of the first host to DIR, else to RUN here
#   docs/tpu.sh delete              give the slice back
#
# TPU_NAME and ZONE name it; create needs ACCELERATOR_TYPE and RUNTIME_VERSION too, and takes CREATE_FLAGS.
set -euo pipefail

usage() {
  sed -n '/^#   docs/p; /^# TPU_NAME/p' "$0" | sed 's/^# *//' >&2
  exit 2
}

need() {
  for name in "$@"; do
    if [ -z "${!name:-}" ]; then
      echo "docs/tpu.sh: set $name" >&2
      exit 2
    fi
  done
}

on_hosts() { # WORKER COMMAND: on one host, or on all of them at once
  gcloud compute tpus tpu-vm ssh "$TPU_NAME" --zone="$ZONE" --worker="$1" --command="$2"
}

copy() { # WORKER FROM TO
  gcloud compute tpus tpu-vm scp --recurse --zone="$ZONE" --worker="$1" "$2" "$3"
}

cd "$(dirname "$0")/.."
uv="~/.local/bin/uv pip install --quiet --python .venv"
[ $# -ge 1 ] || usage
step=$1
shift
need TPU_NAME ZONE

case $step in
  create)
    need ACCELERATOR_TYPE RUNTIME_VERSION
    # shellcheck disable=SC2086
    gcloud compute tpus tpu-vm create "$TPU_NAME" --zone="$ZONE" \
      --accelerator-type="$ACCELERATOR_TYPE" --version="$RUNTIME_VERSION" ${CREATE_FLAGS:-}
    ;;
  install)
    archive=$(mktemp -d)/vaelab.tar.gz
    git archive --prefix=vaelab/ --output="$archive" HEAD
    copy all "$archive" "$TPU_NAME:"
    # The TPU library of the very JAX that requirements.txt has pinned for the hosts' Python.
    # Python 3.11 by uv, whatever the image has; the TPU library of the very JAX that requirements.txt pins.
    pinned='$(~/.local/bin/uv pip list --quiet --python .venv --format=freeze | sed -n s/^jax==//p)'
    on_hosts all "tar xzf vaelab.tar.gz && cd vaelab && python3 -m pip install --quiet --user uv \
&& ~/.local/bin/uv venv --quiet --clear --python 3.11 .venv && $uv -r requirements.txt && $uv \"jax[tpu]==$pinned\""
    ;;
  prepare)
    [ $# -eq 1 ] || usage
    on_hosts all "cd vaelab && $uv tensorflow-cpu && JAX_PLATFORMS=cpu .venv/bin/python -m vaelab.prepare \
$(printf '%q' "$1")"
    ;;
  launch)
    [ $# -ge 1 ] || usage
    on_hosts all "cd vaelab && echo \$\$ > launch.pid && exec .venv/bin/python launch.py $(printf '%q ' "$@")"
    ;;
  stop)
    on_hosts all 'kill -TERM "$(cat vaelab/launch.pid)"'
    ;;
  collect)
    [ $# -ge 1 ] || usage
    to=${2:-$1}
    if [ -e "$to" ]; then
      echo "docs/tpu.sh: $to is there already: name another DIR" >&2
      exit 2
    fi
    mkdir -p "$(dirname "$to")"
    case $1 in /*) from=$1 ;; *) from=vaelab/$1 ;; esac
    copy 0 "$TPU_NAME:$from" "$to"
    ;;
  delete)
    gcloud compute tpus tpu-vm delete "$TPU_NAME" --zone="$ZONE"
    ;;
  *)
    usage
    ;;
esac
