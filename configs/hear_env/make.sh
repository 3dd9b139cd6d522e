#!/usr/bin/env bash
# Make the environment in which the unmodified HEAR tools run on this package: make.sh FOLDER PACKAGE
#
# PACKAGE is the folder `hear_diffres` that they shall import. PYTHON and TORCH (a requirement) may be set in the
# environment. A second call returns at once; a changed requirement, a half-made environment or a Python that is gone
# means making it anew.
set -euo pipefail

if [ $# -ne 2 ]; then
    echo "usage: $0 FOLDER PACKAGE" >&2
    exit 2
fi
case $1 in /*) env=$1 ;; *) env=$PWD/$1 ;; esac
package=$(cd "$2" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")"
python=${PYTHON:-$(command -v python3.11 || command -v python3)}
torch=${TORCH:-torch==2.13.0}

tools=$({ echo "$torch"; cat requirements.txt make.sh; } | sha256sum | cut -d' ' -f1)
# The stamp is written last, so an environment without one was not finished.
stamped() { [ "$(cat "$env/.stamp" 2>/dev/null)" = "$tools" ]; }
pip() { "$env/bin/python" -m pip "$1" --quiet --disable-pip-version-check "${@:2}"; }

if ! stamped || ! "$env/bin/python" -c ''; then
    if [ -e "$env" ] && [ ! -f "$env/.hear-env" ]; then
        echo "$env is there and was not made by $0: remove it or name another folder" >&2
        exit 1
    fi
    rm -rf "$env"
    mkdir -p "$env"
    touch "$env/.hear-env" # nothing without it is ever deleted
    "$python" -m venv "$env"
    pip install "$torch" # first: what it brings (setuptools, numpy) is put right by the pins
    pip install -r requirements.txt
    # Their own pins (numpy 1.19.2, Python < 3.9) cannot be met; without --ignore-requires-python pip takes 2021.0.2.
    pip install --no-deps --ignore-requires-python heareval==2021.1.3 hearvalidator==2021.0.6
    # The one that pip gives on Python >= 3.9 is stricter on timestamps: both are run, so both are here.
    pip install --no-deps --target "$env/validator-2021.0.2" hearvalidator==2021.0.2
    mkdir "$env/own"
    # A link to the package alone: nothing else of the environment it lies in is seen.
    "$env/bin/python" -c 'import sys, sysconfig; open(sysconfig.get_path("purelib") + "/own.pth", "w").write(sys.argv[1])' \
        "$env/own"
    echo "$tools" >"$env/.stamp"
fi
ln -sfn "$package" "$env/own/hear_diffres"
