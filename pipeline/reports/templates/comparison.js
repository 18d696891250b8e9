// Sort a table by the column whose heading is clicked; a second click turns the order round.
// Empty cells come last.
const tables = [...document.querySelectorAll("table")];
tables.forEach((table) => {
  const body = table.querySelector("tbody");
  const headings = [...table.querySelectorAll("th")];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value;
      const rows = [...body.rows].sort((first, second) => {
        const [a, b] = [value(first), value(second)];
        if (a === "" || b === "") return (a === "") - (b === "");
        const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
        return descending ? -order : order;
      });
      body.append(...rows);
    });
  });
});

// Hide the rows that lack a word of the filter.
const rows = tables.flatMap((table) => [...table.querySelectorAll("tbody tr")]);
const texts = rows.map((row) => row.textContent.toLowerCase());
const filter = document.getElementById("filter");
const count = document.getElementById("count");
const applyFilter = () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  rows.forEach((row, index) => {
    row.hidden = !words.every((word) => texts[index].includes(word));
    shown += !row.hidden;
  });
  count.textContent = `${shown} of ${rows.length} runs`;
};
filter.addEventListener("input", applyFilter);
applyFilter();

// Hide the columns that are not ticked, by rules of a style sheet: one for each table and column.
const style = document.head.appendChild(document.createElement("style"));
const hidden = new Set();
const applyColumns = () => {
  const rules = tables.flatMap((table, index) => {
    table.dataset.table = index;
    return [...table.querySelectorAll("th")].flatMap((heading, column) =>
      hidden.has(heading.textContent)
        ? [`[data-table="${index}"] :is(th, td):nth-child(${column + 1}) { display: none; }`]
        : [],
    );
  });
  style.textContent = rules.join("\n");
};
const names = tables.flatMap((table) =>
  [...table.querySelectorAll("th")].map((heading) => heading.textContent),
);
[...new Set(names)].forEach((name) => {
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = true;
  box.addEventListener("change", () => {
    if (box.checked) hidden.delete(name);
    else hidden.add(name);
    applyColumns();
  });
  const label = document.createElement("label");
  label.append(box, ` ${name}`);
  document.querySelector("#columns div").append(label);
});

// Plotly, which is text until the first plot is drawn: reading its megabytes of code takes longer
// than the table of 2,000 runs.
const plotly = () => {
  if (!window.Plotly) {
    const script = document.createElement("script");
    script.text = document.getElementById("plotly").text;
    document.head.append(script);
  }
  return window.Plotly;
};

// Draw a plot when it comes into view: thousands of runs take seconds to draw.
const draw = (place) => {
  const figure = FIGURES[place.id.slice("plot".length)];
  const settings = { responsive: true, displaylogo: false };
  plotly().newPlot(place, figure.data, figure.layout, settings);
  observer.unobserve(place);
};
const observer = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)),
  { rootMargin: "300px" },
);
const places = [...document.querySelectorAll(".plot")];
places.forEach((place) => observer.observe(place));
addEventListener("beforeprint", () => places.filter((place) => !place.childElementCount).forEach(draw));
