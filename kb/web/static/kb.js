/* Enhancements only: every page works without this file. */
"use strict";

// Copy buttons appear only where copying works.
for (const button of document.querySelectorAll("button.copy")) {
  const source = document.getElementById(button.dataset.copy);
  if (!source || !navigator.clipboard) continue;
  const words = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.innerText.trim());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copying is not allowed here";
    }
    setTimeout(() => { button.textContent = words; }, 2500);
  });
}

// One filter open at a time; Escape and a click elsewhere close it.
const filters = [...document.querySelectorAll("details.filter")];
const closeFilters = (except) => {
  for (const filter of filters) if (filter !== except) filter.open = false;
};
for (const filter of filters) {
  filter.addEventListener("toggle", () => { if (filter.open) closeFilters(filter); });
  filter.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && filter.open) {
      filter.open = false;
      filter.querySelector("summary").focus();
    }
  });
}
if (filters.length) {
  document.addEventListener("click", (event) => {
    if (!event.target.closest("details.filter")) closeFilters(null);
  });
}

// Rows that a phone shows as lists stay rows of a table to a screen reader.
for (const table of document.querySelectorAll("table.stacked")) {
  const roles = { table: "table", "thead, tbody": "rowgroup", tr: "row", th: "columnheader", td: "cell" };
  table.setAttribute("role", roles.table);
  for (const [selector, role] of Object.entries(roles)) {
    for (const part of table.querySelectorAll(selector)) part.setAttribute("role", role);
  }
}

// Leave what says nothing out of the address: empty years, the usual order.
for (const form of document.querySelectorAll("form.filters")) {
  form.addEventListener("formdata", (event) => {
    for (const name of ["from", "to"]) if (!event.formData.get(name)) event.formData.delete(name);
    if (event.formData.get("sort") === form.dataset.sort) event.formData.delete("sort");
  });
}
