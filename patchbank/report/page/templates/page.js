"use strict";
document.documentElement.classList.add("js");

// Tables: a title sorts by its column; numbers start with the highest, words with the first; equals keep their order.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const original = [...body.rows];
  heads.forEach((head, index) => {
    const numeric = head.classList.contains("number");
    const value = (row) => {
      const text = row.cells[index].textContent.trim();
      const number = parseFloat(text.replace("+", ""));
      return numeric ? (Number.isNaN(number) ? -Infinity : number) : text;
    };
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      return numeric ? (x < y ? -1 : x > y ? 1 : 0) : x.localeCompare(y, "en", { numeric: true });
    };
    head.querySelector("button").addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const descending = before ? before === "ascending" : numeric;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const sign = descending ? -1 : 1;
      body.append(...[...original].sort((a, b) => sign * compare(a, b)));
    });
  });
}

// Print: what is folded away is printed, too.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});

// Gallery: one choice for all pictures, and each picture changes to the truth (or the image) and back when pressed.
for (const gallery of document.querySelectorAll(".gallery")) {
  const radios = [...gallery.querySelectorAll("input[name=view]")];
  const shots = [...gallery.querySelectorAll(".shot")];
  const names = radios.map((radio) => radio.parentElement.textContent.trim());
  const truth = Math.max(names.indexOf("truth"), 0);
  let chosen = radios.findIndex((radio) => radio.checked);
  const show = (shot, view, turned) => {
    for (const picture of shot.querySelectorAll(".view")) {
      picture.classList.toggle("off", Number(picture.dataset.view) !== view);
    }
    for (const row of shot.querySelectorAll("[data-method]")) {
      row.classList.toggle("current", Number(row.dataset.method) === view);
    }
    shot.querySelector(".pictures").setAttribute("aria-pressed", String(turned));
  };
  for (const shot of shots) {
    const button = shot.querySelector(".pictures");
    button.addEventListener("click", () => {
      const turned = button.getAttribute("aria-pressed") !== "true";
      const prediction = chosen > truth ? chosen : truth + 1;
      const other = chosen > truth ? truth : prediction;
      show(shot, turned ? other : chosen, turned);
    });
  }
  const showAll = () => shots.forEach((shot) => show(shot, chosen, false));
  radios.forEach((radio, index) => radio.addEventListener("change", () => { chosen = index; showAll(); }));
  showAll();
}
