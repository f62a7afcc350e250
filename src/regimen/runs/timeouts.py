"""The timeouts of the protocol between supervisors, workers, jobs and readers of a run, in seconds.

The supervisor touches `.supervisor` every `HEARTBEAT_S` and holds its lock, which the worker inherits. On one machine,
the lock and the process identify the owner of a run; between machines without common locks, the heartbeat's age does:

    age of the heartbeat   0 ────── 20 ────── 60 ─────────── 180 ────────────────── 86,400 ──▶
                           │ HEARTBEAT_S      │              │                      │
    another process        │ must not take the run over      │                      │
                           └──────────────────┴─ may (HEARTBEAT_FRESH_S)            │
    lists show it as         running ────────────────────────┴─ lost (HEARTBEAT_LOST_S)
    `regimen clean`          keeps it ──────────────────────────────────────────────┴─ may remove it (SETTLED_S)

When a supervisor is stopped or killed, its workers save a checkpoint. Each timeout exceeds that of the line above:

    0 ─────────────────── 60 ────────────── 80 ─────────── 90 ──▶
    workers save          │                 │              │
    ORPHAN_GRACE_S ───────┘                 │              │     a worker without supervisor kills its process group
    WORKERS_SHUTDOWN_S ─────────────────────┘              │     the launcher of several workers kills them
    SUPERVISOR_STOP_S ─────────────────────────────────────┤     a failing sweep or pipeline kills its supervisors
    LOCK_WAIT_S ───────────────────────────────────────────┘     the next job of the run stops waiting for its lock

Between the launcher and a scheduler:

    `sbatch` accepts a job ── JOB_LISTED_S ──▶ `squeue` lists it; one that is not listed later is gone
    a command of Slurm     ── SLURM_ANSWER_S ──▶ Slurm does not respond
    a supervisor is started ── SUPERVISOR_START_S ──▶ it has recorded itself in run.json
"""

from __future__ import annotations

HEARTBEAT_S = 20.0
"""Interval at which a supervisor touches `.supervisor`."""

HEARTBEAT_FRESH_S = 60.0
"""A supervisor on another host holds its run if its heartbeat is younger."""

HEARTBEAT_LOST_S = 180.0
"""A run on another host is shown as lost if its heartbeat is older; so is one that was created and never started."""

SETTLED_S = 86400.0
"""A run without a recorded end may be removed if its heartbeat is older and its supervisor cannot be asked."""

ORPHAN_GRACE_S = 60.0
"""Time for a worker to save a checkpoint after its supervisor has vanished."""

WORKERS_SHUTDOWN_S = 80
"""Time for several workers to save and end after a stop signal, before torch.distributed.run kills them."""

SUPERVISOR_STOP_S = 90.0
"""Time for runs to save and end after the process that started them has failed."""

LOCK_WAIT_S = 90.0
"""Longest wait of a job for the worker of an earlier attempt, which may still save on another host."""

STUCK_S = 300.0
"""Time without a sign of work after a stop signal, before a worker is killed."""

SUPERVISOR_START_S = 20.0
"""Longest wait until the supervisor of a resumed run records itself in run.json."""

JOB_LISTED_S = 10.0
"""Time after the submission during which a scheduler may not list the job yet."""

SLURM_ANSWER_S = 60.0
"""Longest wait for a command of Slurm."""
