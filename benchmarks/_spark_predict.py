"""Classify a Parquet file with Spark: python _spark_predict.py MODEL IN.parquet OUT CPUS."""

import sys
from pathlib import Path

import mlflow
from pyspark.sql import SparkSession

ANSWER = "struct<label string, score double, scores map<string, double>>"


def main(model: str, table: str, output: str, cpus: str) -> None:
    """Add the answers to a table, as docs/scale.md shows it.

    Args:
        model: MLflow model: a directory, a run's or a registered one.
        table: Parquet file with a column text.
        output: folder to write.
        cpus: number of CPUs to use.
    """
    tasks = 4 * int(cpus)
    spark = (
        SparkSession.builder.master(f"local[{cpus}]")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        # Spark cuts files by their bytes, and makes one task of less than 4 MB otherwise.
        .config("spark.sql.files.maxPartitionBytes", Path(table).stat().st_size // tasks + 1)
        .getOrCreate()
    )
    classify = mlflow.pyfunc.spark_udf(spark, model, result_type=ANSWER, env_manager="local")
    rows = spark.read.parquet(table).withColumn("answer", classify("text"))
    rows.select("*", "answer.*").drop("answer").write.parquet(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
