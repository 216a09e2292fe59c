#!/bin/bash
# A sweep on a real SLURM on this machine: run.sh [up | sweep | down | all]; see README.md.
#
#   up     install Debian's slurm-wlm if it is missing, configure one node, start munged, slurmctld and slurmd
#   sweep  six cells through hydra/launcher=submitit_slurm: one job canceled, resubmitted; then without waiting
#   down   stop the daemons
#   all    up, sweep, down (also if the sweep fails)
#
# As root, on Debian; it needs neither systemd nor cgroups. Everything lies in $SFTDIV_SLURM (default /tmp/sftdiv-slurm).
# Other programs find the cluster by SLURM_CONF=/tmp/sftdiv-slurm/slurm.conf.
set -euo pipefail

state=${SFTDIV_SLURM:-/tmp/sftdiv-slurm}
python=${PYTHON:-python}
export SLURM_CONF=$state/slurm.conf

install_packages() {
  for program in munged slurmctld slurmd sbatch; do
    command -v $program >/dev/null && continue
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends slurm-wlm >/dev/null
    return
  done
}

configure() {
  mkdir -p "$state"/{control,node,log}
  cat >"$SLURM_CONF" <<CONF
ClusterName=sftdiv
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$state/control
SlurmdSpoolDir=$state/node
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdLogFile=$state/log/slurmd.log
# No cgroups in a container: processes are tracked by their parents, and are not confined.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# No database: sacct fails, as on clusters without accounting.
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
KillWait=5
ReturnToService=2
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
PartitionName=cpu Nodes=$(hostname -s) Default=YES MaxTime=120 State=UP
CONF
}

is_running() { [ -e "$state/$1.pid" ] && kill -0 "$(cat "$state/$1.pid")" 2>/dev/null; }

up() {
  install_packages
  configure
  install -d -o munge -g munge -m 755 /run/munge
  munge --no-input >/dev/null 2>&1 || runuser -u munge -- munged
  is_running slurmctld || slurmctld
  is_running slurmd || slurmd
  for _ in $(seq 30); do
    [[ $(sinfo --noheader --format=%T 2>/dev/null) =~ ^(idle|mixed|allocated)$ ]] && return
    sleep 1
  done
  tail -n 20 "$state"/log/slurmctld.log "$state"/log/slurmd.log
  return 1
}

down() {
  for daemon in slurmd slurmctld; do
    if is_running $daemon; then kill "$(cat "$state/$daemon.pid")"; fi
  done
  if [ -e /run/munge/munged.pid ]; then munged --stop >/dev/null; fi
}

# What a user types, with the time before it; the exit code is shown, not raised.
say() { printf '\n## %s  %s\n' "$(date '+%F %T')" "$*"; }
type_() {
  say "$*"
  local code=0
  "$@" 2>&1 || code=$?
  echo "exit code $code"
}

# When the result of each cell of a study was written, to see that none runs twice.
results() { find "multirun/$1" -name result.json -printf '%TT  %h\n' | sed 's/\.[0-9]*//' | sort -k 2; }

# Wait until cells of the study run as two jobs; prints the jobs.
two_running_jobs() {
  local running
  for _ in $(seq 1200); do
    running=$(find "multirun/$1" -name .running.json -printf '%h/.job.json\n' 2>/dev/null | sort || true)
    if [ "$(wc -w <<<"$running")" -ge 2 ]; then
      sed -n 's/.*"job_id": *"\([^"]*\)".*/\1/p' $running | head -n 2
      return
    fi
    sleep 0.1
  done
  return 1
}

sweep() {
  cd "${1:-$(mktemp -d)}"
  export SFTDIV_CACHE=$PWD/cache
  local command=("$python" -m sftdiv.run -m strategy=micro_token 'diversity_level=0,1/2,1' seed=0,1
    corpus.samples=1500 size.n=150 corpus.band.low=3 corpus.band.high=400 trainer=cpu trainer.threads=1 tracking=none
    stop_after=select embedder=none hydra/launcher=submitit_slurm hydra.launcher.partition=cpu hydra.launcher.cpus_per_task=1
    hydra.launcher.timeout_min=20)

  echo "# Six cells on SLURM $(sinfo --version | cut -d' ' -f2), one node of $(getconf _NPROCESSORS_ONLN) CPUs"
  type_ sinfo --long --Node
  type_ sacct

  printf '\n# 1. Two jobs are lost while their cells run: one is canceled, one is killed without a chance to say so.\n'
  say "${command[*]} study=on_slurm"
  "${command[@]}" study=on_slurm >first.log 2>&1 &
  local pid=$! code=0 lost
  mapfile -t lost < <(two_running_jobs on_slurm)
  {
    type_ squeue --array
    type_ scancel "${lost[0]}"
    type_ scancel --signal=KILL --full "${lost[1]}"
  } >meanwhile.log
  wait $pid || code=$?
  cat first.log
  echo "exit code $code"
  printf '\nIn another terminal meanwhile:\n'
  cat meanwhile.log
  type_ "$python" -m sftdiv.analyze multirun/on_slurm
  type_ results on_slurm

  printf '\n# 2. The same command submits the missing cells only.\n'
  type_ "${command[@]}" study=on_slurm
  type_ "$python" -m sftdiv.analyze multirun/on_slurm
  type_ results on_slurm

  printf '\n# 3. Without waiting: the command ends when the jobs are submitted; the same command adopts them.\n'
  type_ "${command[@]}" study=not_awaited sweep.wait=false
  type_ squeue --array
  type_ "$python" -m sftdiv.analyze multirun/not_awaited
  type_ "${command[@]}" study=not_awaited sweep.wait=false
  type_ "${command[@]}" study=not_awaited
  type_ results not_awaited
  type_ squeue --array
}

case ${1:-} in
  up) up ;;
  sweep) sweep "${@:2}" ;;
  down) down ;;
  all) trap down EXIT; up; sweep "${@:2}" ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
