"""Which state of a machine waits for which driver, and where its answer leads. Source: OpenNebula 7.4.0
src/lcm/LifeCycleStates.cc, src/dm/DispatchManagerActions.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from standin import migration
from standin.machines import Machine
from standin.states import LcmState as L
from standin.states import VmState as S

RUNNING: Final = (L.RUNNING, L.UNKNOWN)


@dataclass(frozen=True)
class Step:
    """A state that waits: whom it asks for what, and where success and failure lead."""

    driver: str  # TM or a VMM action
    after: tuple[S, L]
    failed: tuple[S, L]


STEPS: Final[Mapping[L, Step]] = {
    L.PROLOG: Step("PROLOG", (S.ACTIVE, L.BOOT), (S.ACTIVE, L.PROLOG_FAILURE)),
    L.PROLOG_RESUME: Step("PROLOG", (S.ACTIVE, L.BOOT_STOPPED), (S.ACTIVE, L.PROLOG_RESUME_FAILURE)),
    L.PROLOG_UNDEPLOY: Step("PROLOG", (S.ACTIVE, L.BOOT_UNDEPLOY), (S.ACTIVE, L.PROLOG_UNDEPLOY_FAILURE)),
    L.BOOT: Step("DEPLOY", (S.ACTIVE, L.RUNNING), (S.ACTIVE, L.BOOT_FAILURE)),
    L.BOOT_POWEROFF: Step("DEPLOY", (S.ACTIVE, L.RUNNING), (S.POWEROFF, L.LCM_INIT)),
    L.BOOT_SUSPENDED: Step("RESTORE", (S.ACTIVE, L.RUNNING), (S.SUSPENDED, L.LCM_INIT)),
    L.BOOT_STOPPED: Step("RESTORE", (S.ACTIVE, L.RUNNING), (S.ACTIVE, L.BOOT_STOPPED_FAILURE)),
    L.BOOT_UNDEPLOY: Step("DEPLOY", (S.ACTIVE, L.RUNNING), (S.ACTIVE, L.BOOT_UNDEPLOY_FAILURE)),
    L.SHUTDOWN: Step("SHUTDOWN", (S.ACTIVE, L.EPILOG), (S.ACTIVE, L.RUNNING)),
    L.SHUTDOWN_POWEROFF: Step("SHUTDOWN", (S.POWEROFF, L.LCM_INIT), (S.ACTIVE, L.RUNNING)),
    L.SHUTDOWN_UNDEPLOY: Step("SHUTDOWN", (S.ACTIVE, L.EPILOG_UNDEPLOY), (S.ACTIVE, L.RUNNING)),
    L.SAVE_SUSPEND: Step("SAVE", (S.SUSPENDED, L.LCM_INIT), (S.ACTIVE, L.RUNNING)),
    L.SAVE_STOP: Step("SAVE", (S.ACTIVE, L.EPILOG_STOP), (S.ACTIVE, L.RUNNING)),
    L.EPILOG: Step("EPILOG", (S.DONE, L.LCM_INIT), (S.ACTIVE, L.EPILOG_FAILURE)),
    L.EPILOG_STOP: Step("KEEP", (S.STOPPED, L.LCM_INIT), (S.ACTIVE, L.EPILOG_STOP_FAILURE)),
    L.EPILOG_UNDEPLOY: Step("KEEP", (S.UNDEPLOYED, L.LCM_INIT), (S.ACTIVE, L.EPILOG_UNDEPLOY_FAILURE)),
    L.CLEANUP_DELETE: Step("CLEANUP", (S.DONE, L.LCM_INIT), (S.DONE, L.LCM_INIT)),
    L.MIGRATE: Step("MIGRATE", (S.ACTIVE, L.RUNNING), (S.ACTIVE, L.RUNNING)),
    L.SAVE_MIGRATE: Step("SAVE", (S.ACTIVE, L.PROLOG_MIGRATE), (S.ACTIVE, L.RUNNING)),
    L.PROLOG_MIGRATE: Step("MOVE", (S.ACTIVE, L.BOOT_MIGRATE), (S.ACTIVE, L.PROLOG_MIGRATE_FAILURE)),
    L.PROLOG_MIGRATE_POWEROFF: Step("MOVE", (S.POWEROFF, L.LCM_INIT), (S.ACTIVE, L.PROLOG_MIGRATE_POWEROFF_FAILURE)),
    L.PROLOG_MIGRATE_SUSPEND: Step("MOVE", (S.SUSPENDED, L.LCM_INIT), (S.ACTIVE, L.PROLOG_MIGRATE_SUSPEND_FAILURE)),
    L.BOOT_MIGRATE: Step("RESTORE", (S.ACTIVE, L.RUNNING), (S.ACTIVE, L.BOOT_MIGRATE_FAILURE)),
}
# Of a migration with the machine shut down in between, instead of saved.
POWERED_OFF: Final[Mapping[L, Step]] = {
    L.SAVE_MIGRATE: Step("SHUTDOWN", (S.ACTIVE, L.PROLOG_MIGRATE), (S.ACTIVE, L.RUNNING)),
    L.PROLOG_MIGRATE: Step("MOVE", (S.ACTIVE, L.BOOT), (S.ACTIVE, L.PROLOG_MIGRATE_FAILURE)),
}
LEAVING_HOST: Final = (L.MIGRATE, L.SAVE_MIGRATE)
RETRIES: Final = {
    L.PROLOG_FAILURE: L.PROLOG,
    L.PROLOG_RESUME_FAILURE: L.PROLOG_RESUME,
    L.PROLOG_UNDEPLOY_FAILURE: L.PROLOG_UNDEPLOY,
    L.BOOT_FAILURE: L.BOOT,
    L.BOOT_STOPPED_FAILURE: L.BOOT_STOPPED,
    L.BOOT_UNDEPLOY_FAILURE: L.BOOT_UNDEPLOY,
    L.EPILOG_FAILURE: L.EPILOG,
    L.EPILOG_STOP_FAILURE: L.EPILOG_STOP,
    L.EPILOG_UNDEPLOY_FAILURE: L.EPILOG_UNDEPLOY,
    L.PROLOG_MIGRATE_FAILURE: L.PROLOG_MIGRATE,
    L.PROLOG_MIGRATE_POWEROFF_FAILURE: L.PROLOG_MIGRATE_POWEROFF,
    L.PROLOG_MIGRATE_SUSPEND_FAILURE: L.PROLOG_MIGRATE_SUSPEND,
    L.BOOT_MIGRATE_FAILURE: L.BOOT_MIGRATE,
}
TRANSFERS: Final = ("PROLOG", "EPILOG", "KEEP", "MOVE")
# Action of the API: machines in these states, and the state that follows.
ACTIONS: Final[Mapping[str, tuple[L, ...]]] = {
    "poweroff": RUNNING, "poweroff-hard": RUNNING, "undeploy": RUNNING, "undeploy-hard": RUNNING,
    "stop": RUNNING, "suspend": RUNNING, "reboot": (L.RUNNING,), "reboot-hard": (L.RUNNING,),
}  # fmt: skip
LEADS: Final = {
    "poweroff": L.SHUTDOWN_POWEROFF, "poweroff-hard": L.SHUTDOWN_POWEROFF, "undeploy": L.SHUTDOWN_UNDEPLOY,
    "undeploy-hard": L.SHUTDOWN_UNDEPLOY, "stop": L.SAVE_STOP, "suspend": L.SAVE_SUSPEND,
}  # fmt: skip
LEAVING: Final = (S.DONE, S.UNDEPLOYED, S.STOPPED)


def step_of(machine: Machine) -> Step | None:
    """The step that the machine's state stands for."""
    off = machine.here is not None and machine.here.action in migration.POWERED_OFF
    found = POWERED_OFF.get(machine.lcm_state) if off else None
    return found or STEPS.get(machine.lcm_state)
