#!/usr/bin/env bash
# A real Slurm on this machine, to try train.slurm without a cluster. Debian or Ubuntu, as root:
#
#   bash recipes/sft/slurm_on_one_machine.sh start     install, configure and start munged, slurmctld and slurmd
#   bash recipes/sft/slurm_on_one_machine.sh start 2   the same with two nodes, each with all cores of this machine
#   sbatch recipes/sft/train.slurm && squeue
#   bash recipes/sft/slurm_on_one_machine.sh stop      end the daemons
#
# Needs no systemd. It writes /etc/slurm/slurm.conf (and refuses to touch one that it did not write), /etc/munge and
# folders under /var. `start` may be repeated.
set -euo pipefail
mark="# written by slurm_on_one_machine.sh"
conf=/etc/slurm/slurm.conf
state=/var/spool/slurm_on_one_machine

start() {
  command -v slurmctld >/dev/null && command -v munged >/dev/null || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
  }
  [ ! -f "$conf" ] || head -n 1 "$conf" | grep -qxF "$mark" || {
    echo "$conf is somebody else's; this machine has a Slurm already" >&2
    exit 2
  }
  nodes="${1:-1}"
  mkdir -p "$state/ctld" /etc/slurm /run/munge /var/log/munge /var/lib/munge
  [ -s /etc/munge/munge.key ] || (umask 077; dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 status=none)
  chown -R munge: /etc/munge /run/munge /var/log/munge /var/lib/munge
  chmod 400 /etc/munge/munge.key
  host="$(hostname -s)"
  # Every line that slurmd prints of this machine, less memory for the rest of it.
  node="$(slurmd -C | grep -o 'CPUs=[0-9]*')"
  memory=$(( $(slurmd -C | grep -o 'RealMemory=[0-9]*' | cut -d= -f2) * 9 / 10 ))
  cat >"$conf" <<CONF
$mark
ClusterName=onemachine
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/%n
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.%n.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=node[1-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[17001-$((17000 + nodes))] $node RealMemory=$memory
PartitionName=all Nodes=node[1-$nodes] Default=YES MaxTime=INFINITE State=UP
CONF
  running /run/munge/munged.pid || runuser -u munge -- /usr/sbin/munged --pid-file=/run/munge/munged.pid
  running "$state/slurmctld.pid" || slurmctld
  for name in $(seq -f 'node%g' "$nodes"); do
    mkdir -p "$state/$name"
    running "$state/slurmd.$name.pid" || slurmd -N "$name"
  done
  for _ in $(seq 30); do
    [ "$(sinfo --noheader --Node --states=idle 2>/dev/null | wc -l)" = "$nodes" ] && { sinfo; return; }
    sleep 1
  done
  echo "not all nodes are idle after 30 seconds; $state/*.log say why" >&2
  sinfo || true
  exit 1
}

running() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

stop() {
  for file in "$state"/slurmd.*.pid "$state/slurmctld.pid" /run/munge/munged.pid; do
    running "$file" && kill "$(cat "$file")" || true
  done
}

case "${1:-}" in
  start) start "${2:-1}" ;;
  stop) stop ;;
  *) echo "usage: $0 start [NODES]|stop" >&2; exit 2 ;;
esac
