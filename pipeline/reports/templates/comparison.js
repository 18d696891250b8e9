// Sort the table by the column whose heading is clicked; a second click turns the order round.
// Empty cells come last.
const body = document.querySelector("tbody");
const headings = [...document.querySelectorAll("th")];
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
FIGURES.forEach((figure, index) => {
  const settings = { responsive: true, displaylogo: false };
  Plotly.newPlot(`plot${index}`, figure.data, figure.layout, settings);
});
