"""Stand-in for `pulumi-resource-kubernetes` 4.29.0: every typed object of the SDK against a real API server.

The state it writes is the official's (`__inputs`, `__initialApiVersion`, `__fieldManager`): either can take over. It
refuses patch and list resources, charts, kustomize, YAML files and client-side apply.
"""

VERSION = "4.29.0"  # the official release it stands in for: the one the pinned SDK asks for
