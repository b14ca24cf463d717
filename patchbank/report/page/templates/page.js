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

// Names of clusters: kept in the browser's storage, where it has one, and saved as names.yaml.
for (const naming of document.querySelectorAll(".naming")) {
  const fields = [...document.querySelectorAll(".cluster-name")];
  const said = naming.querySelector(".names-said");
  const storage = (() => { try { return window.localStorage; } catch { return null; } })();
  const home = (field) => field.closest("[data-row]").dataset;
  const key = (field) => ["patchbank", location.pathname, home(field).row, home(field).variant, home(field).fit, field.dataset.cluster].join("\n");
  const name = (field) => field.value.trim().replace(/\s+/g, " ");
  const update = () => {
    const used = new Set();
    for (const field of fields) {
      const twins = fields.filter((other) => other !== field && name(field) && name(other) === name(field) && home(other).row === home(field).row);
      field.parentElement.querySelector(".merged").textContent = twins.length ? `one with cluster ${twins.map((twin) => twin.dataset.cluster).join(", ")}` : "";
      if (name(field)) used.add(name(field));
    }
    document.getElementById("names-in-use").replaceChildren(...[...used].map((text) => Object.assign(document.createElement("option"), { value: text })));
  };
  const keep = (field) => {
    if (!storage) return;
    if (name(field)) storage.setItem(key(field), name(field));
    else storage.removeItem(key(field));
  };
  for (const field of fields) {
    if (storage) field.value = storage.getItem(key(field)) ?? field.defaultValue;
    field.addEventListener("input", () => { keep(field); update(); });
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      const next = fields[fields.indexOf(field) + 1];
      if (next && next.offsetParent) next.focus();
    });
  }
  const rows = () => {
    const found = new Map();
    for (const field of fields.filter(name)) found.set(home(field).row, [...(found.get(home(field).row) ?? []), field]);
    return found;
  };
  const text = () => {
    const lines = ["format: patchbank-names-1", `dataset: ${JSON.stringify(naming.dataset.dataset)}`, "rows:"];
    for (const [row, named] of rows()) {
      const { variant, fit } = home(named[0]);
      lines.push(`  ${JSON.stringify(row)}:`, `    variant: ${JSON.stringify(variant)}`, `    fit: ${JSON.stringify(fit)}`, "    names:");
      for (const field of named) lines.push(`      ${field.dataset.cluster}: ${JSON.stringify(name(field))}`);
    }
    return lines.join("\n") + "\n";
  };
  naming.querySelector(".save-names").addEventListener("click", () => {
    const count = fields.filter(name).length;
    said.textContent = count ? `Names of ${count} ${count === 1 ? "cluster" : "clusters"} saved as names.yaml.` : "No cluster has a name yet.";
    if (!count) return;
    const address = URL.createObjectURL(new Blob([text()], { type: "application/yaml" }));
    Object.assign(document.createElement("a"), { href: address, download: "names.yaml" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  });
  naming.querySelector(".clear-names").addEventListener("click", () => {
    for (const field of fields) { field.value = ""; keep(field); }
    said.textContent = "No cluster has a name any more.";
    update();
  });
  const word = (written) => {  // a scalar of YAML as people and this page write it
    const [, double, single] = written.match(/^(?:("(?:[^"\\]|\\.)*")|'((?:[^']|'')*)')/) ?? [];
    if (double) return JSON.parse(double);
    return single === undefined ? written.replace(/\s+#.*$/, "").trim() : single.replaceAll("''", "'");
  };
  const read = (content) => {
    const given = new Map();
    let one = null;
    for (const line of content.split(/\r?\n/)) {
      const [, row] = line.match(/^ {2}(\S.*):\s*$/) ?? [];
      const [, key, value] = line.match(/^ {4}(variant|fit): +(.+)$/) ?? [];
      const [, cluster, written] = line.match(/^ {6}(\d+): +(.+)$/) ?? [];
      if (row) given.set(word(row), one = { variant: "", fit: "", names: [] });
      if (one && key) one[key] = word(value);
      if (one && cluster) one.names.push([String(Number(cluster)), word(written)]);
    }
    return given;
  };
  naming.querySelector(".load-names").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    const others = [];
    let count = 0;
    try {
      for (const [row, { variant, fit, names }] of read(await file.text())) {
        const here = fields.filter((field) => home(field).row === row);
        const same = (given, own) => !given || !own || given === own;
        if (here.length && !(same(variant, home(here[0]).variant) && same(fit, home(here[0]).fit))) {
          others.push(row);
          continue;
        }
        for (const [cluster, text] of names) {
          const field = here.find((one) => one.dataset.cluster === cluster);
          if (field) { field.value = text; keep(field); count += 1; }
        }
      }
      const loaded = count ? `Names of ${count} ${count === 1 ? "cluster" : "clusters"} loaded.` : `${file.name} names no cluster of this page.`;
      said.textContent = loaded + (others.length ? ` Not loaded: names of ${others.join(", ")}, which are of another training or clustering.` : "");
    } catch (error) {
      said.textContent = `${file.name} cannot be read (${error.message}).`;
    }
    event.target.value = "";
    update();
  });
  update();
}
