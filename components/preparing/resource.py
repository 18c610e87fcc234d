"""The resource of a prepared host: a local Command that runs `components.preparing`, and the hook that lays out for it.

Pulumi's side of this package. In the state stand the host's name, login, host key and the script's digest, nothing else.
"""

from __future__ import annotations

from functools import partial

import pulumi
from pulumi_command import local

from components.preparing.values import EVERYONE, SCRIPT, Endpoint, Target, Way
from components.preparing.workshop import Workshop


class Preparations:
    """Those of one stack. `private_key` None = the agent of the engine's environment."""

    def __init__(self, name: str, way: Way, private_key: pulumi.Input[str] | None) -> None:
        self._name = name
        self._workshop = Workshop(pulumi.get_stack(), way)
        self._known = pulumi.Output.from_input(private_key).apply(partial(_keep_key, self._workshop))
        self._hook: pulumi.ResourceHook | None = None

    def command(
        self, host: str, endpoint: Endpoint, script: pulumi.Output[str], opts: pulumi.ResourceOptions
    ) -> local.Command:
        """One host's. A changed script or endpoint runs the script again; how the host is reached does not."""
        if self._hook is None:
            self._hook = pulumi.ResourceHook(self._name, self._workshop.before)
        digest = pulumi.Output.all(script, self._known).apply(partial(_keep_script, self._workshop))
        return local.Command(
            f"{self._name}-{host}",
            create=f"sh components/preparing/run.sh {pulumi.get_stack()}",
            # The digest follows from public texts alone; the private key is among its causes only for the order.
            environment=Target(host, endpoint, "").environment() | {SCRIPT: pulumi.Output.unsecret(digest)},
            # The script's progress belongs into an error, not into every run's output.
            logging=local.Logging.NONE,
            opts=pulumi.ResourceOptions.merge(
                opts,
                pulumi.ResourceOptions(
                    hooks=pulumi.ResourceHookBinding(before_create=[self._hook], before_update=[self._hook])
                ),
            ),
        )

    def everyone(
        self,
        name: str,
        script: pulumi.Output[str],
        targets: pulumi.Output[list[tuple[str, Endpoint]]],
        opts: pulumi.ResourceOptions,
    ) -> local.Command:
        """One script on all of these hosts, again when it, or one of them, changes."""
        hook = pulumi.ResourceHook(name, self._workshop.before_everyone)
        digest = pulumi.Output.all(script, targets, self._known).apply(
            lambda known: self._workshop.keep_for_everyone(known[0], known[1])
        )
        return local.Command(
            name,
            create=f"sh components/preparing/run.sh {pulumi.get_stack()}",
            environment={EVERYONE: pulumi.Output.unsecret(digest)},
            logging=local.Logging.NONE,
            opts=pulumi.ResourceOptions.merge(
                opts,
                pulumi.ResourceOptions(hooks=pulumi.ResourceHookBinding(before_create=[hook], before_update=[hook])),
            ),
        )


def _keep_key(workshop: Workshop, private_key: str | None) -> None:
    if private_key is not None:
        workshop.keep_key(private_key)


def _keep_script(workshop: Workshop, known: list[str]) -> str:
    return workshop.keep(known[0])
