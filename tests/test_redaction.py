import pytest

from pipeline.redaction import redacted


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://user:secret@host:5000/path", "https://***@host:5000/path"),
        ("https://host/a@b", "https://host/a@b"),
        ("sqlite:///mlruns/mlflow.db", "sqlite:///mlruns/mlflow.db"),
        ("postgresql://u:p%40ss@host/db", "postgresql://***@host/db"),
        ("https://u:p@ss@host/x failed", "https://***@host/x failed"),
        (
            "https://host/a.csv?part=1&X-Amz-Signature=abc&n=2",
            "https://host/a.csv?part=1&X-Amz-Signature=***&n=2",
        ),
    ],
)
def test_credentials_are_cut_out_of_a_uri(uri: str, shown: str) -> None:
    assert redacted(uri) == shown
