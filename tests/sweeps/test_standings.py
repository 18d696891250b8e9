from pipeline.sweeps.standings import Standings
from tests.sweeps.written import OBJECTIVE, run_of


def test_of_a_job_that_ran_again_the_newest_run_counts_and_a_figure_that_is_none_is_the_worst() -> (
    None
):
    diverged = run_of("c", float("nan"))
    standings = Standings([OBJECTIVE])
    standings.add([diverged])
    assert standings.best == diverged
    standings.add(
        [
            run_of("a", 0.99, run_id="on easy data"),
            run_of("b", 0.7, run_id="other"),
            run_of("a", 0.8, run_id="on the data of today"),
            run_of("a", 0.9, "FAILED", run_id="failed again"),
        ]
    )
    assert standings.best is not None
    assert standings.best.run_id == "on the data of today"


def test_each_run_is_worse_once_and_of_equals_the_first_is_the_best() -> None:
    standings = Standings([OBJECTIVE])
    assert standings.add([run_of("later", 0.9, started_ms=5)]) == []
    assert standings.add([run_of("first", 0.9, started_ms=3)]) == []
    assert standings.best is not None
    assert standings.best.run_id == "first"
    assert [each.run_id for each in standings.add([run_of("bad", 0.1)])] == ["bad"]
    worse = standings.add([run_of("good", 0.95), run_of("bad", 0.1)])
    assert {each.run_id for each in worse} == {"later", "first"}
