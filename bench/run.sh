#!/usr/bin/env bash
# All benchmarks in one command; see its --help. Makes sure of Python and of what draws the pictures, and starts the
# program.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

need_packages python3-venv
case " $* " in
*' -h '* | *' --help '*) python=python3 ;;
*)
	# One version: the same data are to give the same picture everywhere.
	need_python matplotlib==3.11.2
	need_cargo
	;;
esac
# Without -P a folder `bench` where this was called would be taken for ours.
PYTHONPATH=$root exec "$python" -B -P -m bench "$@"
