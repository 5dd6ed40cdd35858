#!/usr/bin/env bash
# Builds the image and runs it for real, end to end; prints what it measured; fails at the first
# thing that is not as it should be. It is no part of `make check`, as it needs a Docker engine, some
# 25 GB of disk and, for the first build, a quarter of an hour:
#
#   tests/container.sh               build, then try everything
#   tests/container.sh --no-build    try the image that is there
#
# IMAGE names the image (fasa-live:test). BUILD_OPTIONS are handed to `docker build`, such as
# "--build-arg TORCH_INDEX=URL". Where the engine has no bridge, the host's network is used, and
# port 8501 must be free; else PORT (18501) is mapped to it.
set -euo pipefail
cd "$(dirname "$0")/.."

IMAGE=${IMAGE:-fasa-live:test}
LARGEST_IMAGE_GB=6
LONGEST_STOP=10        # seconds; then an engine kills
GRACE=7                # seconds of them that trainers have for their checkpoint, in the Dockerfile
LONGEST_FIRST_CURVE=240
name=fasa-test-$$
volume=$name
data=$(mktemp -d)
started=""
took=""

if docker network inspect bridge >/dev/null 2>&1; then
  PORT=${PORT:-18501} build_network=() network=(-p "127.0.0.1:${PORT}:8501")
else
  PORT=8501 build_network=(--network host) network=(--network host)
fi
url=http://127.0.0.1:$PORT

clean_up() {
  docker rm -f -v "$name" >/dev/null 2>&1 || true
  docker volume rm "$volume" >/dev/null 2>&1 || true
  rm -rf "$data"
}
trap clean_up EXIT

say() { printf '%-34s %s\n' "$1" "$2"; }
fail() {
  echo "FAILED: $1" >&2
  docker logs --tail 40 "$name" >&2 2>/dev/null || true
  exit 1
}
seconds() { python3 -c 'import time; print(f"{time.time():.2f}")'; }
since() { python3 -c 'import sys, time; print(f"{time.time() - float(sys.argv[1]):.1f}")' "$1"; }
at_most() { python3 -c 'import sys; sys.exit(float(sys.argv[1]) > float(sys.argv[2]))' "$1" "$2"; }

# status PATH [TOKEN]: the status of an answer; 000 while nobody listens.
status() {
  python3 - "$url$1" "${2:-}" <<'PY'
import sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1])
if sys.argv[2]:
    request.add_header("Authorization", f"Bearer {sys.argv[2]}")
try:
    print(urllib.request.urlopen(request, timeout=5).status)
except urllib.error.HTTPError as error:
    print(error.code)
except OSError:
    print("000")
PY
}

# runs TOKEN FIELD: one field of every run, oldest first, a line each.
runs() {
  python3 - "$url/live/runs" "$1" "$2" <<'PY'
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": f"Bearer {sys.argv[2]}"})
answer = json.load(urllib.request.urlopen(request, timeout=5))
print("\n".join(str(run[sys.argv[3]]) for run in reversed(answer["runs"])))
PY
}

# curve TOKEN RUN: how many values of the loss the live route gives.
curve() {
  python3 - "$url/live/runs/$2?want=scalars:0:loss/total" "$1" <<'PY'
import json, struct, sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": f"Bearer {sys.argv[2]}"})
try:
    answer = urllib.request.urlopen(request, timeout=5).read()
except (OSError, urllib.error.HTTPError):
    print(0)
else:
    length = struct.unpack_from("<I", answer, 8)[0]
    print(json.loads(answer[12 : 12 + length])["frames"][0]["rows"])
PY
}

# start OPTIONS...: run the image with the volume; `started` is when.
start() {
  docker rm -f "$name" >/dev/null 2>&1 || true
  started=$(seconds)
  docker run -d --name "$name" "${network[@]}" -v "$volume:/runs" "$@" "$IMAGE" >/dev/null
}
inside() { docker exec "$name" "$@"; }
wait_for() { # WHAT SECONDS COMMAND...: until the command succeeds
  local what=$1 end=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$(docker inspect -f '{{.State.Running}}' "$name")" = true ] || fail "it ended before $what"
    [ $SECONDS -lt $end ] || fail "$what did not come"
    sleep 0.5
  done
}
printed_token() { docker logs "$name" 2>&1 | grep -o 'token=[0-9a-f]*' | awk -F= 'NR == 1 { print $2 }'; }
has_token() { [ -n "$(printed_token)" ]; }
answers() { [ "$(status /_stcore/health)" = 200 ]; }
has_curve() { [ "$(curve "$token" "$1")" -gt 0 ]; }
is_healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$name")" = healthy ]; }
stop() { # CODES: docker stop, within the limit, with one of these exit codes; `took` is how long
  local before code
  before=$(seconds)
  docker stop "$name" >/dev/null
  took=$(since "$before")
  code=$(docker inspect -f '{{.State.ExitCode}}' "$name")
  say "stopped in" "$took s, exit code $code"
  at_most "$took" "$LONGEST_STOP" || fail "stopping took $took s"
  [[ " $1 " == *" $code "* ]] || fail "the exit code is $code"
}
lines() { # COMMAND [OPTIONS...]: what a shell in the image says
  docker run --rm --network none "${@:2}" --entrypoint sh "$IMAGE" -c "$1"
}

# The image

if [ "${1:-}" != --no-build ]; then
  before=$(seconds)
  # shellcheck disable=SC2086
  docker build -q "${build_network[@]}" ${BUILD_OPTIONS:-} -t "$IMAGE" . >/dev/null
  say "built in" "$(since "$before") s"
fi
size=$(docker image inspect -f '{{.Size}}' "$IMAGE" | awk '{printf "%.2f", $1 / 1e9}')
say "size" "$size GB"
at_most "$size" "$LARGEST_IMAGE_GB" || fail "the image has $size GB"
[ "$(lines 'id -u')" = 1000 ] || fail "it runs as root"
for tool in pip gcc cc make; do
  [ -z "$(lines "command -v $tool || true")" ] || fail "the image holds $tool"
done
[ "$(lines 'find / -xdev -user 1000 -not -path "/proc/*" 2>/dev/null')" = /runs ] ||
  fail "something but /runs belongs to the user"

# The first start: nothing but the volume and /tmp can be written

start --read-only --tmpfs /tmp
wait_for "the token" 60 has_token
token=$(printed_token)
wait_for "the dashboard" 60 answers
say "dashboard after" "$(since "$started") s"
[ "$(status /)" = 401 ] || fail "the page is open without the token"
[ "$(status /live/runs)" = 401 ] || fail "the live data are open without the token"
[ "$(status /live/runs 0123456789abcdef)" = 401 ] || fail "a wrong token is let in"
[ "$(status / "$token")" = 200 ] || fail "the token does not open the page"
wait_for "the first curve" $LONGEST_FIRST_CURVE has_curve 1
say "first curve after" "$(since "$started") s"
[ "$(runs "$token" name | awk 'NR == 1')" = demo ] || fail "the demo is not the first run"
[ "$(runs "$token" status | awk 'NR == 1')" = running ] || fail "the demo does not run"
wait_for "the health check's word" 90 is_healthy
say "healthy after" "$(since "$started") s"
inside sh -c '! touch /anywhere /fasa/app/here /venv/there 2>/dev/null' || fail "it is not read-only"
inside fasa --help >/dev/null || fail "the fasa command is not there"
docker logs "$name" 2>&1 | grep -E 'Traceback|Read-only|Permission denied' && fail "the log complains"

docker cp -q "$name:/runs/datasets/demo-60/." "$data" && chmod -R a+rX "$data"

# A trainer that is killed leaves no zombie and is marked as crashed

inside python -c 'import os, psutil, signal
[os.kill(p.pid, signal.SIGKILL) for p in psutil.process_iter(["cmdline"])
 if {"execute", "1"} <= set(p.info["cmdline"] or [])]'
is_over() { runs "$token" status | awk 'NR == 1' | grep -x crashed; }
wait_for "the crash in the run list" 20 is_over
inside python -c 'import psutil, sys
sys.exit(any(p.status() == psutil.STATUS_ZOMBIE for p in psutil.process_iter()))' ||
  fail "there are zombies"
wait_for "the baseline's curve" $LONGEST_FIRST_CURVE has_curve 2

# Stopped while it trains, started anew on the same volume

kept=$(curve "$token" 2)
stop 0
written=$(lines 'ls /runs/run-2/checkpoints 2>/dev/null' -v "$volume:/runs" | paste -sd,)
say "checkpoint written then" "${written:-none: a step took longer than $GRACE s on this machine}"
[ -n "$written" ] || at_most "$GRACE" "$took" || fail "a trainer had the time and wrote no checkpoint"
start --read-only --tmpfs /tmp
wait_for "the second token" 60 has_token
[ "$token" != "$(printed_token)" ] || fail "the token is the same at every start"
token=$(printed_token)
wait_for "the dashboard" 60 answers
[ "$(runs "$token" name | paste -sd,)" = demo,demo-baseline ] || fail "the runs are not kept"
[ "$(runs "$token" status | paste -sd,)" = crashed,interrupted ] || fail "the runs' ends are not kept"
[ "$(curve "$token" 2)" -ge "$kept" ] || fail "the curve is shorter than it was"
inside fasa resume 2 >/dev/null
goes_on() { [ "$(curve "$token" 2)" -gt "$((kept + 2))" ]; }
wait_for "the resumed run's curve" $LONGEST_FIRST_CURVE goes_on
say "runs kept and resumed" "$kept, now $(curve "$token" 2) values of the loss"

# Killed as a power cut would: the run log stays whole

docker kill "$name" >/dev/null
start --read-only --tmpfs /tmp -e FASA_TOKEN=a-token-of-my-own-choice -v "$data:/data:ro"
wait_for "the dashboard" 60 answers
token=a-token-of-my-own-choice
[ "$(status /live/runs "$token")" = 200 ] || fail "FASA_TOKEN is not the token"
docker logs "$name" 2>&1 | grep "$token" && fail "the log tells the token of FASA_TOKEN"
check="import sqlite3; print(*sqlite3.connect('/runs/fasa.sqlite').execute('pragma integrity_check').fetchone())"
[ "$(inside python -c "$check")" = ok ] || fail "the run log is damaged"
say "run log after a kill" "whole; $(runs "$token" status | paste -sd,)"

# Data of one's own, read by two loader processes

inside fasa queue --name own --data coco --workers 2 \
  --annotations /data/annotations/train.json --images /data/images \
  --test-annotations /data/annotations/test.json --test-images /data/images >/dev/null
wait_for "the curve of own data" $LONGEST_FIRST_CURVE has_curve 3
[ "$(runs "$token" status | tail -1)" = running ] || fail "the run with own data does not run"
docker logs "$name" 2>&1 | grep -E 'Traceback|Read-only|Permission denied' && fail "the log complains"
stop 0

# Stopped before it has started; then with a root file system that can be written, and no volume

start
sleep 0.5
stop "0 143"
docker rm -f "$name" >/dev/null
docker run -d --name "$name" "${network[@]}" "$IMAGE" >/dev/null
wait_for "the dashboard without a volume" 60 answers
stop 0

if docker info -f '{{json .Runtimes}}' | grep nvidia >/dev/null; then
  docker run --rm --gpus all --entrypoint python "$IMAGE" \
    -c 'import torch; assert torch.cuda.is_available(); print(torch.cuda.get_device_name())'
else
  say "GPU" "not tried: this engine has no NVIDIA runtime"
fi
echo "everything as it should be"
