"""Entry of `pulumi-resource-command`."""

from lab.plugins.command.provider import CommandProvider
from lab.plugins.serve import serve


def main() -> None:
    """Serve until the engine is done."""
    serve(CommandProvider)


if __name__ == "__main__":
    main()
