#!/usr/bin/env bash
# README's two commands on the Pythons of Debian, each in a tree of its own:
#
#   tests/pythons.sh DIR [SUITE ...]    suites: trixie (Python 3.13), sid (3.14); both when none is named
#
# In DIR/SUITE, which debootstrap fills when it is not there yet, a copy of this checkout is made to run `make demo`,
# `pip install .` with `vaelab run` from another folder, and `make test`; STEPS="demo wheel test" says which of them.
# Each step has its log, DIR/SUITE.STEP.log, and the exit status is that of the worst.
# Needs root, debootstrap, unshare, 4 GB of disk for each suite, a mirror of Debian (MIRROR, else debootstrap's own) and an index of Python packages:
# pip is set up in the tree by this machine's PIP_* variables, /etc/pip.conf and certificates.
# The tree has namespaces of its own for mounts and processes: nothing stays mounted, or running, after it.
set -euo pipefail

case ${1:-} in
  "" | -*)
    sed -n '2,/^set /s/^#\( \|$\)//p' "$0" >&2
    exit 2
    ;;
esac
mkdir -p "$1"
trees=$(realpath "$1")
shift
source=$(realpath "$(dirname "$0")/..")
case $trees/ in
  "$source"/*)
    echo "tests/pythons.sh: $trees is inside of the checkout: name a folder outside of it" >&2
    exit 2
    ;;
esac
if [ "$(id -u)" != 0 ]; then
  echo "tests/pythons.sh: needs root, for chroot" >&2
  exit 2
fi
for tool in debootstrap unshare git; do
  if ! command -v $tool > /dev/null; then
    echo "tests/pythons.sh: needs $tool: apt-get install debootstrap util-linux git" >&2
    exit 2
  fi
done

tree() { # SUITE
  local root=$trees/$1
  if [ ! -e "$root/.whole" ]; then
    rm -rf "$root"
    debootstrap --variant=minbase --include=ca-certificates,git,make,python3,python3-venv "$1" "$root" \
      ${MIRROR:+"$MIRROR"} > "$trees/$1.debootstrap.log"
    touch "$root/.whole"
  fi
  local file
  for file in /etc/resolv.conf /etc/hosts /etc/pip.conf "${PIP_CERT:-}" "${SSL_CERT_FILE:-}" "${REQUESTS_CA_BUNDLE:-}"; do
    if [ -f "$file" ]; then
      install -D -m 644 "$file" "$root$file"
    fi
  done
  # What git has or would take; .venv and runs of an earlier call stay.
  git -C "$source" ls-files -z --cached --others --exclude-standard --deduplicate > "$root/.files"
  find "$root/vaelab" -mindepth 1 -maxdepth 1 ! -name .venv ! -name runs -exec rm -rf {} + 2> /dev/null || true
  mkdir -p "$root/vaelab"
  tar -C "$source" --null --files-from="$root/.files" --ignore-failed-read -cf - 2> /dev/null | tar -C "$root/vaelab" -xf -
}

inside() { # SUITE COMMAND: with a /proc and a shared memory of its own
  local passed=() name
  while read -r name; do
    # A folder of this machine is none of the tree's.
    [[ ${!name} == /* && ! -f ${!name} ]] || passed+=("$name=${!name}")
  done < <(compgen -e | grep -Ei '^(pip_|[a-z]+_proxy$|ssl_cert_file$|requests_ca_bundle$)')
  unshare --mount --pid --fork --kill-child --mount-proc --root="$trees/$1" --wd=/vaelab \
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "${passed[@]}" \
    bash -c "set -e; mount -t tmpfs tmpfs /dev/shm; $2"
}

declare -A commands=(
  [demo]='rm -rf runs/digits_gap
make demo
.venv/bin/python benchmarks/stacks.py functions runs/digits_gap'
  [wheel]='python3 -m venv --clear /root/installed
/root/installed/bin/pip install --quiet --disable-pip-version-check .
/root/installed/bin/pip list --disable-pip-version-check | grep -Ei "^(jax|jaxlib|flax|optax|distrax|tfp-nightly|tensorflow.*|numpy|scipy) "
rm -rf build *.egg-info /root/elsewhere
mkdir /root/elsewhere
cd /root/elsewhere
/root/installed/bin/vaelab run --config=digits_gap --workdir=run'
  # Of a commit, as some tests ask git for it.
  [test]='rm -rf .git
git init --quiet
git add --all
git -c user.name=copy -c user.email=copy@example.invalid commit --quiet --message=copy
make test'
)
[ $# -gt 0 ] || set -- trixie sid
worst=0
for suite in "$@"; do
  tree "$suite"
  python=$(inside "$suite" 'python3 --version')
  for step in ${STEPS:-demo wheel test}; do
    begun=$SECONDS
    status=0
    inside "$suite" "${commands[$step]}" > "$trees/$suite.$step.log" 2>&1 || status=$?
    # The last line says how it went: that of the run, or the counts of the tests.
    printf '%-8s %-14s %-6s exit %s after %s s: %s\n' "$suite" "$python" "$step" $status $((SECONDS - begun)) \
      "$(grep -v '^ *$' "$trees/$suite.$step.log" | tail -n 1)"
    [ $status -le $worst ] || worst=$status
  done
done
exit $worst
