"""What hooks are called with, below all that hooks know of."""

from abc import ABC, abstractmethod
from typing import Any


class PerFunction(ABC):
    """An argument that every implementation sees in its own way, for instance in the type that it names."""

    @abstractmethod
    def seen_by(self, function: Any) -> Any:
        """What `function` gets."""
