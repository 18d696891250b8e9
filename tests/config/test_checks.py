from pathlib import Path

import pytest

from pipeline.config.resolve import resolve
from pipeline.errors import PipelineError
from tests.conftest import composed


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("trainer.learning_rate=0", "trainer.learning_rate=0.0 must be above 0"),
        ("trainer.num_train_epochs=-1", "trainer.num_train_epochs=-1.0 must be above 0"),
        ("qat.phases.qat.learning_rate=nan", "qat.phases.qat.learning_rate=nan must be above 0"),
        ("model.num_hidden_layers=0", "model.num_hidden_layers=0 must be at least 1"),
        ("dataset.max_length=2", "dataset.max_length=2 must be at least 3"),
        ("dataset.test_size=1.5", "dataset.test_size=1.5 must be above 0 and below 1"),
        ("trainer.seed=-1", "trainer.seed=-1 must be at least 0 and at most 4294967295"),
        ("trainer.seed=4294967296", "trainer.seed=4294967296 must be at least 0 and at most"),
        ("trainer.max_steps=0", "trainer.max_steps=0 must be at least 1, or -1"),
        (f"trainer.seed=1{'0' * 400}", "must be at least 0 and at most 4294967295"),
        ("trainer.per_device_train_batch_size=99999999999999999999", "must be at least 1"),
        ("trainer.num_train_epochs=0", "trainer.num_train_epochs=0.0 must be above 0"),
        ("dataset.train_file=conf", "dataset.train_file=conf is a directory; for a directory use"),
        ("trainer.learning_rate=nan", "trainer.learning_rate=nan must be above 0"),
        ("trainer.learning_rate=inf", "trainer.learning_rate=inf must be above 0"),
        ("trainer.warmup_ratio=2", "trainer.warmup_ratio=2.0 must be at least 0 and at most 1"),
        ("trainer.adam_beta1=1.5", "trainer.adam_beta1=1.5 must be at least 0 and below 1"),
        ("trainer.dataloader_num_workers=-1", "dataloader_num_workers=-1 must be at least 0"),
        ("trainer.label_smoothing_factor=2", "label_smoothing_factor=2.0 must be at least 0 and"),
        ("dataset.split_seed=-1", "dataset.split_seed=-1 must be at least 0 and at most"),
        ("export.max_accuracy_loss=2", "export.max_accuracy_loss=2.0 must be at least 0 and at"),
        ("trainer.resume_from_checkpoint=nowhere", "resume_from_checkpoint=nowhere holds no check"),
        ("trainer.output_dir=/proc/version/x", "output_dir=/proc/version/x: /proc/version is not"),
        ("trainer.eval_strategy=steps", "needs trainer.eval_steps=N"),
        ("qat.phases.finetune.quantize=true", "only possible in the last phase"),
        ("qat.fp32_op_types=[Embeding]", "Embeding is unknown; did you mean Embedding?"),
        ("dataset.data_dir=nowhere", "dataset.data_dir=nowhere does not exist"),
        ("dataset.train_file=nowhere.csv", "dataset.train_file=nowhere.csv does not exist"),
        ("dataset.train_file='no*.csv'", "dataset.train_file=no*.csv does not exist"),
        ("dataset.test_file=https://example.org/a.csv", "dataset.train_file has no value"),
        ("dataset.label_names=[a,a,b]", "dataset.label_names has 'a' twice; each is one class"),
        ("dataset.label_names=[a]", "dataset.label_names=['a'] has one class only"),
        ("dataset.encoding=utf-7000", "dataset.encoding=utf-7000 is no encoding of text; accepted"),
        ("dataset.encoding=base64", "dataset.encoding=base64 is no encoding of text; accepted"),
        ("model.name_or_path=./nowhere", "model.name_or_path=./nowhere is not a directory"),
        ("model.layers=[4,1]", "model.layers=[4, 1] must name each layer once, in ascending order"),
        ("model.layers=[]", "model.layers=[] must name each layer once"),
        ("model.layers=[-1]", "model.layers=-1 must be at least 0"),
        ("dataset=files", "dataset.train_file has no value; give dataset.train_file=FILE"),
        (
            "export.formats=[onnx_int4]",
            "export.formats: onnx_int4 is unknown; did you mean onnx_int8",
        ),
        ("export.formats=[onnx_int8,onnx_int8]", "names a format twice"),
        (
            "export.ship=openvino",
            "export.ship=openvino is not in export.formats; did you mean openvino_int8",
        ),
        (
            "baseline.word_ngram_range=[2,1]",
            "baseline.word_ngram_range=[2, 1] must be the smallest and the largest length, such as",
        ),
        ("baseline.char_ngram_range=[3]", "baseline.char_ngram_range=[3] must be the smallest"),
        ("baseline.C=0", "baseline.C=0.0 must be above 0"),
        ("benchmark.repetitions=-1", "benchmark.repetitions=-1 must be at least 0"),
        (
            "qat.fp32_op_types=[Linear]",
            "qat.fp32_op_types has Linear, so that onnx_int8 would have nothing to quantize",
        ),
        ("export.calibration_samples=0", "export.calibration_samples=0 must be at least 1"),
        (
            "qat.phases.finetune.freeze_observers_after=0.5",
            "has nothing to freeze: the phase does not quantize",
        ),
        (
            "qat.phases.qat.freeze_observers_after=1.0",
            "freeze_observers_after=1.0 must be above 0 and below 1",
        ),
        ("trainer.save_strategy=no", "set trainer.save_strategy=epoch"),
        ("trainer.eval_strategy=no", "or trainer.load_best_model_at_end=false"),
        ("loss.focal_gamma=-1", "loss.focal_gamma=-1.0 must be at least 0"),
        ("qat.fp32_modules=[bert.pooler]", "does not know modules; choose export=none"),
        ("tracking.tracking_uri=???", "tracking.tracking_uri has no value"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_key(override: str, reason: str) -> None:
    with pytest.raises(PipelineError) as caught:
        resolve(composed(override))
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            ["qat=ptq_static", "qat.post_training.calibration_samples=0"],
            "calibration_samples=0 must be at least 1",
        ),
        (
            ["qat=ptq_static", "qat.weight_granularity=per_tensor"],
            "possible in quantization-aware training only",
        ),
        (
            ["qat=ptq_dynamic", "qat.activation_scheme=sym"],
            "choose qat=ptq_static, or asym for ptq_dynamic",
        ),
        (
            ["qat=ptq_dynamic", "qat.post_training.tolerable_loss=2"],
            "tolerable_loss=2.0 must be above 0 and below 1",
        ),
        (["qat=ptq_dynamic", "qat.phases.finetune.quantize=true"], "set their quantize to false"),
        (
            ["+pruning=magnitude", "pruning.target_sparsity=1.0"],
            "pruning.target_sparsity=1.0 must be above 0 and below 1",
        ),
        (
            ["+pruning=magnitude", "pruning.target_sparsity=0"],
            "pruning.target_sparsity=0.0 must be above 0 and below 1",
        ),
        (
            ["+pruning=magnitude", "pruning.pattern=4y1"],
            "pruning.pattern=4y1 is unknown; accepted are patterns such as 1x1, 4x1",
        ),
        (
            ["+pruning=magnitude", "pruning.pattern=2:4", "pruning.target_sparsity=0.6"],
            "more than pruning.pattern=2:4 allows: 0.5",
        ),
        (
            ["+pruning=magnitude", "pruning.start_step=5", "pruning.end_step=5"],
            "must be above pruning.start_step=5",
        ),
        (
            ["+pruning=magnitude", "trainer.resume_from_checkpoint=x"],
            "cannot be combined with pruning",
        ),
        (
            [
                "+pruning=magnitude",
                "trainer.load_best_model_at_end=true",
                "trainer.save_strategy=epoch",
            ],
            "the best checkpoint may be from before the weights were pruned",
        ),
        (
            [
                "trainer.eval_strategy=steps",
                "trainer.save_strategy=steps",
                "trainer.eval_steps=100",
            ],
            "trainer.save_steps=500 must be trainer.eval_steps=100 with "
            "trainer.load_best_model_at_end=true, which needs a checkpoint at every evaluation; "
            "set trainer.save_steps=100.",
        ),
        (
            ["trainer.early_stopping_patience=2", "trainer.load_best_model_at_end=false"],
            "needs trainer.load_best_model_at_end=true",
        ),
        (
            ["+distillation=teacher"],
            "distillation.teacher has no value; give it as distillation.teacher=VALUE",
        ),
        (
            ["+distillation=teacher", "distillation.teacher=./nowhere"],
            "distillation.teacher=./nowhere is not a directory",
        ),
        (
            ["+distillation=teacher", "distillation.teacher=a/b", "distillation.temperature=0"],
            "temperature=0.0 must be above 0",
        ),
        (
            [
                "+distillation=teacher",
                "distillation.teacher=a/b",
                "distillation.loss_weights=[1,1]",
            ],
            "two shares whose sum is 1",
        ),
        (
            [
                "+distillation=teacher",
                "distillation.teacher=a/b",
                "distillation.transfer_texts=10",
                "dataset.text_pair_column=second",
            ],
            "distillation.transfer_texts makes single texts",
        ),
        (
            ["dataset.unlabelled_file=pyproject.toml"],
            "dataset.unlabelled_file=pyproject.toml has texts for a teacher to label",
        ),
        (
            ["trainer.max_steps=8", "qat.phases.qat.num_train_epochs=2"],
            "qat.phases.qat.num_train_epochs=2 and trainer.max_steps=8 are two lengths of one "
            "phase; leave out one of them (trainer.max_steps=-1, qat.phases.qat.num_train_epochs="
            "null).",
        ),
        (["loss.focal_gamma=2", "trainer.label_smoothing_factor=0.1"], "exclude each other"),
    ],
)
def test_what_contradicts_itself_is_refused_before_anything_is_loaded(
    overrides: list[str], reason: str
) -> None:
    with pytest.raises(PipelineError) as caught:
        resolve(composed(*overrides))
    assert reason in str(caught.value)


@pytest.mark.usefixtures("here")
def test_epochs_do_not_matter_where_the_steps_are_given() -> None:
    overrides = ("dataset=reviews", "trainer.num_train_epochs=0", "trainer.max_steps=2")
    assert resolve(composed(*overrides)).trainer.max_steps == 2


def test_an_empty_folder_holds_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="holds no checkpoints of a run"):
        resolve(composed(f"trainer.resume_from_checkpoint={tmp_path}"))


@pytest.mark.parametrize("group", ["model=minilm", "dataset=reviews"])
def test_missing_assets_are_said_to_come_from_make_assets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match="make assets"):
        resolve(composed(group))


def test_a_missing_extra_is_named_before_anything_runs(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pipeline.config.checks.find_spec", lambda name: None if name == "nncf" else object()
    )
    with pytest.raises(
        PipelineError,
        match="openvino_int8 needs OpenVINO and NNCF: pip install openvino nncf, or choose",
    ):
        resolve(composed("dataset=reviews", "model=minilm"))
    assert resolve(composed("dataset=reviews", "model=minilm", "export=onnx")).export.formats == [
        "onnx_fp32",
        "onnx_int8",
    ]
