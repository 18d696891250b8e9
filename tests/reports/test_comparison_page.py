"""The page in headless Chromium: it renders offline, sorts, and shows a tooltip."""

import json
import shutil
import subprocess
from copy import deepcopy
from pathlib import Path

import pytest

from pipeline.comparison.corpora import compare
from pipeline.reports.comparison_page import write_page
from pipeline.reports.html import script_json
from tests.comparison.test_comparison import RUNS

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
# Runs in the page after its own scripts: clicks headings, moves the mouse over a point, and writes
# down what is there.
PROBE = """
<script>
addEventListener("load", () => dispatchEvent(new Event("beforeprint")));  // draws every plot
addEventListener("load", () => setTimeout(() => {
  const found = {
    plots: document.querySelectorAll(".plot .main-svg").length > 0,
    axes: document.querySelectorAll(".parcoords .y-axis").length,
  };
  const headings = [...document.querySelectorAll("th")];
  const column = headings.findIndex((heading) => heading.textContent === "accuracy");
  const rows = () => [...document.querySelectorAll("tbody tr")];
  const values = () => rows().map((row) => row.cells[column].textContent);
  found.before = values();
  document.querySelectorAll("th button")[column].click();
  found.ascending = values();
  document.querySelectorAll("th button")[column].click();
  found.descending = values();
  const filter = document.getElementById("filter");
  const shown = () => rows().filter((row) => row.checkVisibility()).length;
  filter.value = "direct 0.0003";
  filter.dispatchEvent(new Event("input"));
  found.filtered = [shown(), document.getElementById("count").textContent];
  filter.value = "";
  filter.dispatchEvent(new Event("input"));
  const box = document.querySelectorAll("#columns input")[column];
  box.click();
  found.column = rows()[0].cells[column].checkVisibility();
  found.link = document.querySelector("tbody a").href;
  found.linear = document.querySelector("#plot0 .shape-label").textContent;
  Plotly.Fx.hover("plot0", [{ curveNumber: 1, pointNumber: 0 }]);
  found.tooltip = document.querySelector(".hoverlayer").textContent;
  const told = document.createElement("pre");
  told.id = "found";
  told.textContent = JSON.stringify(found);
  document.body.append(told);
}, 1500));
</script>
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "comparison.html"
    write_page(compare(RUNS, ["accuracy"]), "sweep <1>", "http://127.0.0.1:5000", file)
    return file


def test_the_page_is_one_file_that_asks_nothing_of_a_network(page: Path) -> None:
    text = page.read_text()
    assert "sweep &lt;1&gt;" in text
    assert "{{" not in text.partition("<script")[0]
    assert text.count("sweep &lt;1&gt;") == 2, "the tab and the heading"
    head = text.partition("<script")[0]
    assert not [tag for tag in ("<link", 'src="', "@import", "url(") if tag in head]
    assert "too few seeds to tell from noise" in text
    assert "the loss became nan" in text


NAME = "<!--<script> & </script> \u2028 ]]>"


def test_no_name_ends_or_opens_a_script() -> None:
    assert not set(script_json([NAME])) & set("<>&\u2028")
    assert json.loads(script_json([NAME])) == [NAME]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("recipe", ["direct", NAME])
def test_the_page_renders_sorts_and_shows_a_tooltip_in_a_browser(
    tmp_path: Path, recipe: str
) -> None:
    runs = deepcopy(RUNS)
    for run in runs:
        if run.data.params["qat.name"] == "direct":
            run.data.params["qat.name"] = run.info.run_name = recipe
            run.data.metrics["linear/accuracy"] = 0.7
    page = tmp_path / "comparison.html"
    write_page(compare(runs, ["accuracy"]), recipe, "http://127.0.0.1:5000", page)
    page.write_text(page.read_text().replace("</body>", f"{PROBE}</body>"))
    done = subprocess.run(
        [
            str(CHROMIUM),
            *(
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--virtual-time-budget=6000",
                "--dump-dom",
            ),
            f"--user-data-dir={tmp_path / 'profile'}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(done.stdout.partition('<pre id="found">')[2].partition("</pre>")[0])
    assert found["plots"]
    assert found["axes"] >= 4
    assert found["ascending"] == [
        "0.8000",
        "0.8200",
        "0.8400",
        "0.8500",
        "0.8500",
        "0.8800",
        "0.9000",
        "",
    ]
    assert found["descending"] == [
        "0.9000",
        "0.8800",
        "0.8500",
        "0.8500",
        "0.8400",
        "0.8200",
        "0.8000",
        "",
    ]
    name = recipe.lower() if recipe == "direct" else ""
    assert found["filtered"] == ([2, "2 of 8 runs"] if name else [0, "0 of 8 runs"])
    assert not found["column"], "it was not ticked any more"
    assert found["link"].startswith("http://127.0.0.1:5000/#/experiments/1/runs/")
    assert "learning_rate" in found["tooltip"]
    assert found["linear"] == "linear model"
