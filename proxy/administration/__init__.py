"""Administration: what operators ask of a running server, and let it do."""

from proxy.administration.running_workers import RunningWorkers, WorkerState
from proxy.administration.server_administration import ServerAdministration

__all__ = ["RunningWorkers", "ServerAdministration", "WorkerState"]
