import io
import logging

from pipeline.console.log_lines import hide_secrets


def test_the_log_of_a_run_holds_no_secret() -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        hide_secrets()
        place = "https://me:password@host/train.csv?token=SECRET"
        logging.getLogger("pipeline").warning("left out 1 of 2 rows: %s", place)
    finally:
        logging.getLogger().removeHandler(handler)
    assert written.getvalue() == (
        "[WARNING] left out 1 of 2 rows: https://***@host/train.csv?token=***\n"
    )
