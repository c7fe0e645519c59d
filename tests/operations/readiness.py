"""What /readyz answers."""

from typing import Any

from tests.clients import Client


def ready(client: Client, role: str = "") -> dict[str, Any]:
    """Response of /readyz without the states of the roles."""
    answer = client.get("/readyz", {"role": role} if role else {}).json()
    return {name: value for name, value in answer.items() if name != "roles"}
