"use strict";
// Without this script the page is complete; with it the columns of its tables can be sorted.
(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    if (cell.tagName === "TH") return cell.dataset.name;
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);

  const sort = (table, header, column) => {
    const before = header.getAttribute("aria-sort");
    const first = header.dataset.better === "high" ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    const order = before === first ? second : first;
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("divider"));
      rows.sort((x, y) => {
        const a = value(x, column);
        const b = value(y, column);
        // What was not measured stays at the end, whichever way the rest is sorted.
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * compare(a, b);
      });
      body.append(...rows);
    }
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    const headers = [...table.tHead.querySelectorAll("th[data-better]")];
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => sort(table, header, column));
    });
  }
  document.documentElement.dataset.ready = "yes";
})();
