"""Turn the trainer group into transformers' TrainingArguments."""

import logging
import sys
from dataclasses import asdict
from pathlib import Path

from transformers import TrainingArguments

from pipeline.config.schema import TrainerConfig
from pipeline.cpus import available_cpus
from pipeline.data.tokens import LENGTH

log = logging.getLogger(__name__)
# Keys of the trainer group that TrainingArguments does not have, or that are set here.
OTHER_KEYS = (
    "bf16",  # accelerate (1.15) would leave its autocast on the model, for evaluation and export
    "early_stopping_patience",
    "early_stopping_threshold",
    "output_dir",
    "resume_from_checkpoint",
)


def training_arguments(config: TrainerConfig, output_dir: Path) -> TrainingArguments:
    """Build TrainingArguments from the trainer group, whose keys have the same names.

    A progress bar is shown on a terminal only, unless disable_tqdm says otherwise, and no more
    processes load data than there are CPUs.

    Args:
        config: the trainer group.
        output_dir: folder of the phase's checkpoints.
    """
    options = {name: value for name, value in asdict(config).items() if name not in OTHER_KEYS}
    if options["disable_tqdm"] is None:
        options["disable_tqdm"] = not sys.stderr.isatty()
    cpus = available_cpus()
    if config.dataloader_num_workers > cpus:
        log.info("dataloader_num_workers: %d, one for each CPU", cpus)
        options["dataloader_num_workers"] = cpus
    is_kept = config.output_dir is not None or config.resume_from_checkpoint is not None
    return TrainingArguments(
        output_dir=str(output_dir),
        save_only_model=not is_kept,  # nobody goes on from the checkpoints of a scratch folder
        do_train=True,  # INCTrainer (optimum-intel 1.27) would not quantize, and not say so
        use_cpu=True,  # Neural Compressor converts for the CPU
        report_to=[],  # curves go through Curves, batched
        length_column_name=LENGTH,
        restore_callback_states_from_checkpoint=True,  # the count of EarlyStoppingCallback
        **options,
    )
