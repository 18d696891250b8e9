"""Launch the jobs of a sweep on a Ray cluster, so that none of them runs twice."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from pipeline.errors import PipelineError
from pipeline.sweeps.late_plugin import LatePlugin


class RayLauncher(LatePlugin, Launcher):
    """Let hydra-ray-launcher run jobs, and end all of them when it gives up.

    hydra-ray-launcher 1.4.0rc3 raises when the process of a job is lost for good, and leaves the
    other jobs at work. The sweep then launches what has not ended again, so nothing may be left.

    Args:
        options: keys of hydra.launcher (conf/hydra/launcher/ray.yaml).
    """

    def _make(self) -> Any:
        try:
            import ray  # noqa: F401
            from hydra_plugins.hydra_ray_launcher import ray_launcher
        except ImportError as error:
            raise PipelineError(
                f"hydra/launcher=ray needs {error.name}, which is not installed; the extra `ray` "
                "has it: pip install -e '.[ray]'; on this machine alone, hydra/launcher=joblib "
                "runs several jobs at once."
            ) from error
        return ray_launcher.RayLauncher(**self._options)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Launch jobs and wait for all of them.

        Args:
            job_overrides: overrides of each job.
            initial_job_idx: number of the first one.

        Returns:
            How each job ended, in their order.
        """
        import ray

        try:
            returns: Sequence[JobReturn] = self._plugin.launch(job_overrides, initial_job_idx)
        except BaseException:
            ray.shutdown()  # ends the tasks of this process, wherever they run or wait
            raise
        return returns
