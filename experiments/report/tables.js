// Every table: a button in each heading sorts by its column, and a field above it filters the rows. A box at the top of
// the page hides what is not measured.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];

  const key = (row, column) => {
    const cell = row.cells[column], text = cell.textContent.trim();
    return cell.dataset.value ? Number(cell.dataset.value) : text === "" || cell.classList.contains("none") ? null : text;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });

  function sort(column, direction) {  // "none" is the order of the paper; cells without a value come last
    const order = [...rows];
    if (direction !== "none") {
      order.sort((one, two) => {
        const a = key(one, column), b = key(two, column);
        if (a === null || b === null) return (a === null) - (b === null);
        return direction === "ascending" ? compare(a, b) : compare(b, a);
      });
    }
    body.append(...order);
    heads.forEach((head, i) => head.setAttribute("aria-sort", i === column ? direction : "none"));
  }

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    const next = { none: "ascending", ascending: "descending", descending: "none" };
    button.addEventListener("click", () => sort(column, next[head.getAttribute("aria-sort")]));
  });

  const filter = document.getElementById(table.dataset.filter);
  if (!filter) continue;
  const shown = filter.parentElement.querySelector("output");
  filter.parentElement.hidden = false;
  filter.addEventListener("input", () => {  // every word must stand in the row
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const left = rows.filter((row) => !row.hidden).length;
    shown.textContent = words.length ? `${left} of ${rows.length} rows` : "";
  });
}

const measured = document.getElementById("measured-only");
measured.closest(".filter").hidden = false;
measured.addEventListener("change", () => document.body.classList.toggle("hides-open", measured.checked));
