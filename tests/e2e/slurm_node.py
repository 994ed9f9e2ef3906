"""A real SLURM of one node with two GPUs in its books, from Debian's packages, in a folder of its own.

Each GPU is an empty file where a device would be. What runs in a job uses the CPU, but it is queued, placed, limited,
signalled and cancelled as on a cluster.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "squeue", "scontrol", "scancel", "srun", "sinfo", "sacct", "sacctmgr")

CONFIGURATION = """
ClusterName=avsbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/daemon
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
GresTypes=gpu
SlurmdParameters=config_overrides
KillWait=10
MinJobAge=300
InactiveLimit=0
ReturnToService=2
SchedulerParameters=sched_interval=2,sched_min_interval=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=32000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=short Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no node can be started here; empty if one can."""
    if os.geteuid() != 0:
        return "starting SLURM's daemons needs root"
    absent = [name for name in (*DAEMONS, *COMMANDS) if not shutil.which(name, path=_path())]
    return f"programs are missing: {', '.join(absent)} (packages slurmctld slurmd slurm-client munge)" if absent else ""


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class SlurmNode:
    """The daemons, from `with` to its end. With `environment` every command of SLURM finds them.

    A job step starts with a clean SLURM_*, and with it SLURM_CONF would go. So the commands are wrapped.
    """

    def __init__(self, folder: Path, cpus: int = 4, gpus: int = 2):
        self.folder, self.cpus, self.gpus = folder, cpus, gpus
        self.environment = {**os.environ, "PATH": f"{folder}/commands{os.pathsep}{_path()}"}
        self._daemons: list[subprocess.Popen] = []

    def __enter__(self) -> "SlurmNode":
        for name in ("controller", "daemon", "commands"):
            (self.folder / name).mkdir(parents=True)
        for name in (*DAEMONS[1:], *COMMANDS):
            wrapper = self.folder / "commands" / name
            real = shutil.which(name, path=_path())
            wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {real} "$@"\n')
            wrapper.chmod(0o755)
        self.folder.chmod(0o755)
        controller, daemon = _free_ports(2)
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=socket.gethostname().split(".")[0],
                folder=self.folder,
                controller=controller,
                daemon=daemon,
                cpus=self.cpus,
                gpus=self.gpus,
            )
        )
        for number in range(self.gpus):
            (self.folder / f"gpu{number}").touch()
        (self.folder / "gres.conf").write_text(f"Name=gpu File={self.folder}/gpu[0-{self.gpus - 1}]\n")
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        try:
            self._start(
                *("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", f"--key-file={key}"),
                *(f"--pid-file={self.folder}/munged.pid", f"--log-file={self.folder}/munged.log"),
                f"--seed-file={self.folder}/munged.seed",
            )
            self._wait((self.folder / "munge.socket").exists, "munged")
            self._start("slurmctld", "-D")
            self._start("slurmd", "-D")
            self._wait(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%t"), "slurmctld and slurmd")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception) -> None:
        if self._daemons:
            self.ask("scancel", "--user=root")
            deadline = time.monotonic() + 30
            while self.ask("squeue", "--noheader") and time.monotonic() < deadline:
                time.sleep(0.5)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()

    def ask(self, *command: str) -> str:
        """What a command of SLURM prints; empty when it fails."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)
        return done.stdout.strip() if done.returncode == 0 else ""

    def jobs(self) -> list[dict[str, str]]:
        """The jobs that SLURM still knows, finished ones too, a dictionary of `scontrol show job` each."""
        found = []
        for line in self.ask("scontrol", "show", "job", "--oneliner").splitlines():
            # Values may hold spaces and "=" (Comment, Command); the keys of interest hold neither.
            found.append(dict(part.split("=", 1) for part in line.split(" ") if "=" in part))
        return [job for job in found if "JobId" in job]

    def _start(self, *command: str) -> None:
        log = open(self.folder / f"{command[0]}.out", "w")  # noqa: SIM115 - the daemon keeps it
        self._daemons.append(
            subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        )
        log.close()

    def _wait(self, condition, what: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            dead = [process.args[0] for process in self._daemons if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = "\n".join(f"{file}:\n{file.read_text()[-2000:]}" for file in self.folder.glob("*.[lo][ou][gt]"))
                raise RuntimeError(f"{what} did not start{f', {dead} ended' if dead else ''}\n{logs}")
            time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
