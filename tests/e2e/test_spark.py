"""A promoted model in Spark; skipped where the extra `spark` or Java is missing, as in CI."""

import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from pipeline import promote
from pipeline.inference.classifier import TextClassifier
from pipeline.names import CHAMPION
from pipeline.tracking.locate_model import model_directory
from tests.e2e.conftest import Deployed

pyspark_sql = pytest.importorskip("pyspark.sql")
if shutil.which("java") is None:
    pytest.skip("there is no Java", allow_module_level=True)
# As docs/scale.md has it.
ANSWER = "struct<label string, score double, scores map<string, double>>"


@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("own_artifacts", "any_gate")
def test_a_promoted_model_adds_its_answers_to_a_table(deployed: Deployed, tmp_path: Path) -> None:
    assert promote.main([deployed.run.info.run_id, "--gate", "any"]) == 0
    texts = list(deployed.test["text"])
    frame = pd.DataFrame({"id": range(len(texts)), "text": texts})
    frame.to_parquet(tmp_path / "in.parquet", index=False)
    builder = pyspark_sql.SparkSession.builder.master("local[1]")
    for key in ("host", "bindAddress"):
        builder = builder.config(f"spark.driver.{key}", "127.0.0.1")
    spark = builder.config("spark.ui.enabled", "false").getOrCreate()
    try:
        classify = mlflow.pyfunc.spark_udf(spark, CHAMPION, result_type=ANSWER, env_manager="local")
        rows = spark.read.parquet(str(tmp_path / "in.parquet"))
        rows = rows.withColumn("answer", classify("text")).select("*", "answer.*").drop("answer")
        rows.write.parquet(str(tmp_path / "out.parquet"))
    finally:
        spark.stop()
    classifier = TextClassifier(model_directory(CHAMPION))
    table = pd.read_parquet(tmp_path / "out.parquet").sort_values("id")
    assert list(table.columns) == ["id", "text", "label", "score", "scores"]
    for row in table.to_dict("records"):
        (answer,) = classifier.answers(classifier.logits([row["text"]]))
        assert (row["label"], row["score"]) == (answer["label"], answer["score"])
        assert dict(row["scores"]) == answer["scores"]
