() => {
  // Screen readers speak what comes into these.
  const live = () => {
    for (const id of ["answer", "progress", "report"]) {
      document.getElementById(id)?.setAttribute("aria-live", "polite");
    }
  };

  // The heat map fades over the photo; nothing is asked of the server.
  const fade = (slider) => {
    slider.closest(".fade").querySelector(".heatmap").style.opacity = slider.value / 100;
    slider.setAttribute("aria-valuetext", `${slider.value} percent`);
  };

  // What the reviewer chose last; it holds for rows that come later.
  const chosen = { sort: "number", up: true, shown: "all", focus: null };
  const NUMBERS = new Set(["number", "probability"]);

  const compare = (a, b) => {
    const [x, y] = [a.dataset[chosen.sort], b.dataset[chosen.sort]];
    const order = NUMBERS.has(chosen.sort) ? x - y : x.localeCompare(y, undefined, { numeric: true });
    return (chosen.up ? order : -order) || a.dataset.number - b.dataset.number;
  };

  const arrange = () => {
    const table = document.querySelector("table.verdicts");
    if (!table) return;
    const body = table.tBodies[0];
    const rows = [...body.rows];
    for (const row of rows) {
      row.hidden = chosen.shown !== "all" && !row.dataset.groups.split(" ").includes(chosen.shown);
    }
    const sorted = [...rows].sort(compare);
    if (sorted.some((row, place) => row !== rows[place])) body.append(...sorted);
    for (const button of table.querySelectorAll("[data-sort]")) {
      const sort = button.dataset.sort === chosen.sort ? (chosen.up ? "ascending" : "descending") : "none";
      button.closest("th").setAttribute("aria-sort", sort);
    }
    const radio = document.querySelector(`.filters input[value="${chosen.shown}"]`);
    if (radio) radio.checked = true;
  };

  // New rows replace the table in the page, and the focus would be lost with the old one.
  const refocus = () => {
    if (chosen.focus && document.activeElement === document.body) {
      document.querySelector(`#table ${chosen.focus}`)?.focus({ preventScroll: true });
    }
  };

  const watched = new MutationObserver(() => {
    watched.disconnect();
    live();
    arrange();
    refocus();
    watch();
  });
  const watch = () => watched.observe(document.body, { childList: true, subtree: true });

  document.addEventListener("input", (event) => {
    if (event.target.matches(".fade input")) fade(event.target);
  });
  document.addEventListener("change", (event) => {
    if (!event.target.matches(".filters input")) return;
    chosen.shown = event.target.value;
    arrange();
  });
  document.addEventListener("click", (event) => {
    const key = event.target.closest?.("[data-sort]")?.dataset.sort;
    if (!key) return;
    chosen.up = chosen.sort === key ? !chosen.up : key !== "probability";
    chosen.sort = key;
    arrange();
  });
  document.addEventListener("focusin", (event) => {
    const { sort } = event.target.dataset;
    chosen.focus = sort ? `[data-sort="${sort}"]` : event.target.name === "shown" ? `[value="${event.target.value}"]` : null;
  });
  live();
  arrange();
  watch();
}
