"""Entry of `pulumi-resource-kubernetes`."""

from lab.plugins.kubernetes.provider import KubernetesProvider
from lab.plugins.serve import serve


def main() -> None:
    """Serve until the engine is done."""
    serve(KubernetesProvider)


if __name__ == "__main__":
    main()
