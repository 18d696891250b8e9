"""Make a plugin of Hydra when it is used, and not when it is registered."""

from abc import abstractmethod
from typing import Any

from hydra.plugins.plugin import Plugin


class LatePlugin(Plugin):
    """Stand for a plugin whose modules take long to import, or may not be installed.

    Args:
        options: keys of the plugin's group.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._plugin: Any = None

    def setup(self, **context: Any) -> None:
        """Make the plugin, and set it up.

        Args:
            context: what Hydra gives it: its context, the function that runs a job, and the config.

        Raises:
            PipelineError: it cannot be made.
        """
        self._plugin = self._make()
        self._plugin.setup(**context)

    @abstractmethod
    def _make(self) -> Any:
        """Import the plugin, and make it of the options."""
