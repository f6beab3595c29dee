"""What hooks are called with, below all that hooks know of."""

from typing import Any


class PerFunction:
    """An argument that every implementation sees in its own way, for instance in the type that it names."""

    def seen_by(self, function: Any) -> Any:
        """What `function` gets."""
        raise NotImplementedError
