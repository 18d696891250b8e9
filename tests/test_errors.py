import pytest

from pipeline.errors import nearest, redacted


def test_the_closest_value_is_named_first() -> None:
    assert (
        nearest("learning_rat", ["learning_rate", "seed", "optim"]) == "did you mean learning_rate?"
    )


def test_all_values_are_named_when_none_is_close() -> None:
    assert nearest("xyz", ["direct", "none"]) == "accepted: direct, none."


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://user:secret@host:5000/path", "https://***@host:5000/path"),
        ("https://host/a@b", "https://host/a@b"),
        ("sqlite:///mlruns/mlflow.db", "sqlite:///mlruns/mlflow.db"),
        ("postgresql://u:p%40ss@host/db", "postgresql://***@host/db"),
        ("https://u:p@ss@host/x failed", "https://***@host/x failed"),
        ("postgresql://u:12/ab@host/db", "postgresql://***@host/db"),
        ("postgresql://u:a@b/c@host/db", "postgresql://***@host/db"),
        ("postgresql://u:a/b'c@host/db", "postgresql://***@host/db"),
        ("https://host/f?code=a&n=2", "https://host/f?code=***&n=2"),
        ("https://host/f?sas=a&jwt=b", "https://host/f?sas=***&jwt=***"),
        ("https://host/f?country_code=de", "https://host/f?country_code=de"),
        ("https://host/?pwd=a&n=2", "https://host/?pwd=***&n=2"),
        ("https://host/?auth=a#token=b", "https://host/?auth=***"),
        ("https://host/page#access_token=b", "https://host/page#access_token=***"),
        ("https://host/?sslpassphrase=a", "https://host/?sslpassphrase=***"),
        ("https://host:5000/path", "https://host:5000/path"),
        (
            "https://host/a.csv?part=1&X-Amz-Signature=abc&n=2",
            "https://host/a.csv?part=1&X-Amz-Signature=***&n=2",
        ),
    ],
)
def test_credentials_are_cut_out_of_a_uri(uri: str, shown: str) -> None:
    assert redacted(uri) == shown
