"""Classify a Parquet file with Spark: python _spark_predict.py MODEL IN.parquet OUT CPUS."""

import sys

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
    spark = (
        SparkSession.builder.master(f"local[{cpus}]")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.files.minPartitionNum", 4 * int(cpus))
        .getOrCreate()
    )
    classify = mlflow.pyfunc.spark_udf(spark, model, result_type=ANSWER, env_manager="local")
    rows = spark.read.parquet(table).withColumn("answer", classify("text"))
    rows.select("*", "answer.*").drop("answer").write.parquet(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
