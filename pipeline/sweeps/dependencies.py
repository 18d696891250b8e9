"""Find out what the figures of a sweep's jobs depend on, beside their configs."""

from dataclasses import replace

from pipeline.config import hub
from pipeline.config.identity import Ingredients
from pipeline.config.schema import DatasetConfig
from pipeline.sweeps.jobs import Job


class Dependencies:
    """What jobs depend on; each corpus and each model is read once."""

    def __init__(self) -> None:
        self._data: dict[str, Ingredients] = {}
        self._whole: dict[str, Ingredients] = {}

    def of(self, job: Job) -> Ingredients:
        """Return what a job's figures depend on.

        Args:
            job: the job.

        Raises:
            PipelineError: its corpus cannot be read.
        """
        from pipeline.models.source import model_version, teacher_version

        config = job.config
        key = repr((config.dataset, config.model, config.distillation))
        if key not in self._whole:
            hub.use_cache_if_silent(config)
            data = self._data_of(config.dataset)
            model, teacher = model_version(config.model), teacher_version(config.distillation)
            self._whole[key] = replace(data, model=model, teacher=teacher)
        return self._whole[key]

    def _data_of(self, config: DatasetConfig) -> Ingredients:
        from pipeline.data.corpus import load_corpus

        key = repr(config)
        if key not in self._data:
            corpus = load_corpus(config)
            self._data[key] = Ingredients(corpus.digests, corpus.label_names, model="")
        return self._data[key]
