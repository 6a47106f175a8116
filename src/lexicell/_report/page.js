"use strict";
// The page alive: colors, search, groups, comparison, downloads. Names from the data are only ever set as text.

const $ = (id) => document.getElementById(id);
const MISSING = "#9aa4ae";
const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const LEVELS = 64;
const FEWEST = 5; // cells of a donor in each of two groups that are compared
const format = (v, digits = 2) => (Number.isFinite(v) ? v.toLocaleString("en-US", { maximumFractionDigits: digits }) : "–");

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "for") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

function save(name, content, type = "text/tab-separated-values") {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

const asTsv = (rows) => rows.map((row) => row.map((v) => String(v).replace(/[\t\r\n]+/g, " ")).join("\t")).join("\n") + "\n";
const fileName = (words) => words.replace(/[^\p{L}\p{N}]+/gu, "_").slice(0, 60) || "table";

function prepareTables() {
  for (const table of document.querySelectorAll("main table")) {
    const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    // On a narrow screen a row becomes a block, where each entry says what it is.
    for (const row of table.tBodies[0].rows) [...row.cells].forEach((cell, i) => (cell.dataset.head = heads[i]));
    addDownload(table, table.caption?.textContent ?? "table");
  }
}

function addDownload(table, title) {
  const button = make("button", { type: "button", className: "small", textContent: "TSV", "aria-label": `Download as TSV: ${title}` });
  button.onclick = () => {
    const rows = [...table.rows].map((row) => [...row.cells].map((cell) => cell.dataset.v ?? cell.textContent.trim()));
    save(`${fileName(title)}.tsv`, asTsv(rows));
  };
  table.caption?.append(" ", button);
}

function smallTable(title, head, rows, shown = 12) {
  const table = make("table", {}, make("caption", { textContent: title }));
  const style = (v) => (typeof v === "number" ? "num" : "");
  table.createTHead().append(make("tr", {}, ...head.map((h, i) => make("th", { scope: "col", textContent: h, className: style(rows[0]?.[i]) }))));
  const body = table.createTBody();
  for (const row of rows.slice(0, shown)) {
    const cells = row.map((v, i) => {
      const cell = make(i ? "td" : "th", { textContent: style(v) ? format(v) : v, className: style(v) });
      if (!i) cell.scope = "row";
      return cell;
    });
    body.append(make("tr", {}, ...cells));
  }
  const button = make("button", { type: "button", className: "small", textContent: "TSV", "aria-label": `Download all rows: ${title}` });
  button.onclick = () => save(`${fileName(title)}.tsv`, asTsv([head, ...rows]));
  table.caption.append(" ", button);
  return make("div", { className: "scroll" }, table);
}

async function unpack(data) {
  const packed = Uint8Array.from(atob($("lexicell-arrays").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const types = { u1: Uint8Array, u2: Uint16Array, text: Uint8Array };
  return data.arrays.map(([type, start, length]) => {
    const array = new types[type](buffer, start, length);
    return type === "text" ? new TextDecoder().decode(array) : array;
  });
}

class Page {
  constructor(data, arrays) {
    Object.assign(this, data);
    this.at = arrays;
    this.things = [
      ...data.columns.map((c) => ({ ...c, sort: "column", codes: arrays[c.a] })),
      ...data.genes.map((g) => ({ ...g, sort: "gene", kind: "number", codes: arrays[g.a] })),
      ...data.words.map((w) => ({ ...w, sort: "words", kind: "number", codes: arrays[w.a] })),
    ];
    this.kept = this.things.length;
    this.labels = this.things.filter((t) => t.kind === "labels");
    this.home = this.labels.find((t) => t.name === data.clusters_column) ?? this.labels[0];
    this.shuffled = shuffle(this.n);
    this.selected = null;
  }

  start() {
    const [x, y] = this.positions();
    const on = {
      hover: (cell, px, py) => this.hover(cell, px, py),
      select: (cells) => (cells.length === 1 ? this.readGroupOf(cells[0]) : this.read(cells, "Selected cells")),
      deselect: () => this.clear(),
    };
    const canvas = $("map");
    const wanted = new URLSearchParams(location.search).get("map") ?? (wantsWebgl(this.n) ? "webgl" : "canvas");
    this.map = (wanted === "webgl" ? webglMap : canvasMap)(canvas, x, y, on);
    canvas.dataset.kind = this.map.kind;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const backdrop = () => this.map.background(dark.matches ? "#12161b" : "#ffffff");
    dark.addEventListener("change", backdrop);
    backdrop();
    this.fillChooser();
    this.connect();
    new Search($("search"), $("options"), this);
    return this.color(this.home ?? this.things[0]);
  }

  positions() {
    const [x, y] = this.xy.map((i) => Float32Array.from(this.at[i], (v) => v / 32767.5 - 1));
    return [x, y];
  }

  connect() {
    $("color").onchange = (event) => this.color(this.things[Number(event.target.value)]);
    $("lasso").onclick = (event) => {
      const on = event.target.getAttribute("aria-pressed") !== "true";
      event.target.setAttribute("aria-pressed", on);
      this.map.lasso(on);
    };
    $("reset").onclick = () => this.map.reset();
    $("clear").onclick = () => {
      this.map.deselect();
      this.clear();
    };
    $("picture").onclick = () => this.picture();
    $("compare").onclick = () => this.compare();
    for (const id of ["group-a", "group-b"]) $(id).onfocus = () => this.fillGroups();
    this.fillGroups();
  }

  fillChooser() {
    const sets = { column: "Columns", gene: "Genes", words: "Words" };
    for (const [sort, title] of Object.entries(sets)) {
      const own = this.things.filter((t) => t.sort === sort);
      const options = own.map((t) => make("option", { value: this.things.indexOf(t), textContent: t.name }));
      if (own.length) $("color").append(make("optgroup", { label: title }, ...options));
    }
  }

  async color(thing) {
    if (!thing) return this.map.paint(new Uint8Array(this.n), ["#0072B2"], this.shuffled);
    this.shown = thing;
    $("color").value = this.things.indexOf(thing);
    $("map").setAttribute("aria-label", `Map of ${this.n.toLocaleString("en-US")} cells, colored by ${thing.name}`);
    this.legend(thing);
    if (thing.kind === "labels") {
      const none = thing.names.length;
      await this.map.paint(Array.from(thing.codes, (c) => Math.min(c, none)), [...thing.colors, MISSING], this.shuffled);
    } else {
      const levels = Array.from(thing.codes, (c) => (c === 255 ? LEVELS : Math.min(LEVELS - 1, c >> 2)));
      await this.map.paint(levels, [...ramp(LEVELS), MISSING], byValue(thing.codes));
    }
    if (this.selected) this.map.select(this.selected);
    $("map").dataset.color = thing.name;
  }

  legend(thing) {
    const box = $("legend");
    box.replaceChildren(make("h3", { textContent: thing.name }));
    if (thing.kind === "labels") return box.append(this.names(thing));
    const ends = make("div", { className: "ends" }, make("span", { textContent: format(thing.lo) }), make("span", { textContent: format(thing.hi) }));
    box.append(make("div", { className: "ramp" }), ends);
    const about = { gene: "log1p of counts per 10,000", words: "distance from random gene sets of the same expression, in their standard deviations" }[thing.sort];
    if (about) box.append(make("p", { className: "note", textContent: about }));
    if (thing.genes?.length) box.append(smallTable(`Genes of “${thing.name}”`, ["Gene", "Why"], thing.genes));
    if (thing.python) box.append(make("h4", { textContent: "In Python" }), make("pre", { textContent: thing.python }));
    if (thing.warning) box.append(make("p", { className: "note", textContent: thing.warning }));
  }

  names(thing) {
    const counts = countCodes(thing);
    const items = thing.names.map((name, k) => {
      const button = make("button", { type: "button", className: "name" }, dot(thing.colors[k]), name, " ", make("small", { textContent: counts[k].toLocaleString("en-US") }));
      button.onclick = () => this.readGroup(thing, k);
      return make("li", {}, button);
    });
    return make("ul", {}, ...items);
  }

  hover(cell, px, py) {
    const tip = $("tip");
    tip.hidden = cell < 0;
    if (cell < 0) return;
    const lines = [make("b", { textContent: this.cells[cell] })];
    const told = [...new Set([this.home, ...this.labels.filter((t) => t.main), this.shown])].filter(Boolean);
    for (const thing of told) lines.push(make("div", { textContent: `${thing.name}: ${this.valueOf(thing, cell)}` }));
    const group = this.clusters[this.home?.names[this.home.codes[cell]]];
    if (group?.words.length) lines.push(make("div", { textContent: `in words: ${group.words.slice(0, 3).map((w) => w[0]).join(", ")}` }));
    if (group?.genes) lines.push(make("div", { textContent: `genes: ${group.genes}` }));
    tip.replaceChildren(...lines);
    const box = $("map").getBoundingClientRect();
    tip.style.left = `${Math.max(0, Math.min(px + 14, box.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(0, Math.min(py + 14, box.height - tip.offsetHeight - 4))}px`;
  }

  valueOf(thing, cell) {
    if (thing.kind === "labels") return thing.names[thing.codes[cell]] ?? "no label";
    return thing.codes[cell] === 255 ? "no value" : format(decode(thing, thing.codes[cell]));
  }

  clear() {
    this.selected = null;
    $("reading").replaceChildren(make("p", { className: "note", textContent: "Draw around cells with Lasso (or hold Shift), or choose a name in the legend." }));
  }

  readGroup(thing, k) {
    const cells = cellsOf(thing, k);
    this.map.select(cells);
    this.read(cells, `${thing.name}: ${thing.names[k] ?? "no label"}`);
  }

  readGroupOf(cell) {
    const thing = this.shown?.kind === "labels" ? this.shown : this.home;
    if (thing) this.readGroup(thing, thing.codes[cell]);
  }

  read(cells, title) {
    this.selected = cells;
    const mask = maskOf(cells, this.n);
    const parts = [make("h3", { textContent: title }), make("p", { textContent: `${cells.length.toLocaleString("en-US")} cells, ${format((100 * cells.length) / this.n, 1)} % of those shown` })];
    const top = (thing) => thing && this.composition(thing, mask, cells.length);
    const told = [...new Set([this.home, ...this.labels.filter((t) => t.main), this.labels.find((t) => t.name === this.donor)])];
    parts.push(...told.map(top).filter(Boolean));
    const rest = mask.map((v) => 1 - v);
    const words = this.differences("words", mask, rest).filter((row) => row.difference > 0);
    if (words.length) parts.push(smallTable("Words: mean score, here and elsewhere", ["Words", "Here", "Elsewhere", "Genes"], words.map((r) => [r.name, r.a, r.b, r.genes]), 8));
    const genes = this.differences("gene", mask, rest).filter((row) => row.difference > 0);
    if (genes.length) parts.push(smallTable("Genes: mean log expression, here and elsewhere", ["Gene", "Here", "Elsewhere"], genes.map((r) => [r.name, r.a, r.b]), 10));
    const list = make("button", { type: "button", className: "small", textContent: "Cell names (TSV)" });
    list.onclick = () => save("cells.tsv", asTsv([["cell"], ...Array.from(cells, (i) => [this.cells[i]])]));
    parts.push(list);
    $("reading").replaceChildren(...parts);
    // Colors may have a long legend; what was chosen last is what the reader wants to see.
    $("reading").parentElement.scrollTop = $("reading").offsetTop - $("reading").parentElement.offsetTop;
  }

  composition(thing, mask, total) {
    const inside = new Float64Array(thing.names.length + 1);
    for (let i = 0; i < this.n; i++) if (mask[i]) inside[Math.min(thing.codes[i], thing.names.length)]++;
    const all = countCodes(thing);
    const rows = thing.names.map((name, k) => [name, inside[k], (100 * inside[k]) / total, (100 * inside[k]) / all[k]]);
    const present = rows.filter((row) => row[1]).sort((a, b) => b[1] - a[1]);
    return smallTable(thing.name, [thing.name, "Cells", "% of group", "% of its cells"], present, 6);
  }

  differences(sort, maskA, maskB) {
    const rows = [];
    for (const thing of this.things) {
      if (thing.sort !== sort) continue;
      const [a, b] = [meanOf(thing, maskA), meanOf(thing, maskB)];
      const genes = (thing.genes ?? []).slice(0, 5).map((g) => g[0]).join(", ");
      if (Number.isFinite(a) && Number.isFinite(b)) rows.push({ name: thing.name, a, b, difference: a - b, genes, thing });
    }
    return rows.sort((p, q) => Math.abs(q.difference) - Math.abs(p.difference));
  }

  fillGroups() {
    for (const [id, first] of [["group-a", "selected"], ["group-b", "others"]]) {
      const select = $(id);
      const before = select.value || first;
      const options = [make("option", { value: "selected", textContent: "selected cells" }), make("option", { value: "others", textContent: "all cells not in the other group" })];
      for (const thing of new Set([this.home, ...this.labels.filter((t) => t.main), this.shown?.kind === "labels" ? this.shown : this.home].filter(Boolean))) {
        const place = this.things.indexOf(thing);
        const own = thing.names.map((name, k) => make("option", { value: `${place}:${k}`, textContent: name }));
        options.push(make("optgroup", { label: thing.name }, ...own));
      }
      select.replaceChildren(...options);
      select.value = before;
      if (select.selectedIndex < 0) select.value = first;
    }
  }

  group(id) {
    const value = $(id).value;
    if (value === "others") return null;
    if (value === "selected") return this.selected && maskOf(this.selected, this.n);
    const [place, k] = value.split(":").map(Number);
    return maskOf(cellsOf(this.things[place], k), this.n);
  }

  compare() {
    const out = $("comparison-result");
    let [a, b] = [this.group("group-a"), this.group("group-b")];
    if ($("group-a").value === "others" && b) a = b.map((v) => 1 - v);
    if ($("group-b").value === "others" && a) b = a.map((v) => 1 - v);
    const size = (mask) => mask?.reduce((sum, v) => sum + v, 0) ?? 0;
    if (!size(a) || !size(b)) return out.replaceChildren(make("p", { textContent: "Choose two groups that hold cells; select some on the map first for “selected cells”." }));
    const donors = this.labels.find((t) => t.name === this.donor);
    const said = `${size(a).toLocaleString("en-US")} against ${size(b).toLocaleString("en-US")} cells. Differences of means describe these cells; they are no test.`;
    const parts = [make("p", { textContent: said })];
    for (const [sort, title] of [["words", "Words"], ["gene", "Genes"]]) {
      const rows = this.differences(sort, a, b).map((r) => [r.name, r.a, r.b, r.difference, ...(donors ? [agreement(r.thing, donors, a, b)] : [])]);
      const head = [title, "A", "B", "A − B", ...(donors ? ["Higher in A, donors"] : [])];
      if (rows.length) parts.push(smallTable(`${title}: A against B`, head, rows, 15));
    }
    out.replaceChildren(...parts);
  }

  async picture() {
    const image = this.map.image();
    const canvas = make("canvas", { width: image.width, height: image.height });
    const pen = canvas.getContext("2d");
    // The WebGL map has no background of its own.
    pen.fillStyle = getComputedStyle(document.body).backgroundColor;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(await createImageBitmap(image), 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    save(`${fileName(`map_${this.shown?.name ?? ""}`)}.png`, blob);
  }

  async ask(phrase) {
    const answer = await fetch(`${this.live}?${new URLSearchParams({ phrase })}`);
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    const codes = Uint8Array.from(atob(told.codes), (c) => c.charCodeAt(0));
    const thing = { ...told, codes, sort: "words", kind: "number" };
    // What was typed on the way to a phrase is not kept; what was chosen is.
    this.things.length = this.kept;
    for (const option of [...$("color").options]) if (Number(option.value) >= this.kept) option.remove();
    this.things.push(thing);
    $("color").append(make("option", { value: this.kept, textContent: thing.name }));
    return thing;
  }
}

class Search {
  constructor(input, list, page) {
    Object.assign(this, { input, list, page, options: [], at: -1 });
    input.oninput = () => this.find();
    input.onfocus = () => input.value && this.find();
    input.onblur = () => setTimeout(() => this.close(), 150);
    input.onkeydown = (event) => this.key(event);
  }

  find() {
    const wanted = this.input.value.trim().toLowerCase();
    const named = (t) => (wanted ? t.name.toLowerCase().indexOf(wanted) : -1);
    const hits = this.page.things.map((t) => [named(t), t]).filter(([place]) => place >= 0);
    hits.sort((a, b) => a[0] - b[0] || a[1].name.length - b[1].name.length);
    this.options = hits.slice(0, 12).map(([, t]) => ({ text: t.name, sort: t.sort, run: () => this.page.color(t) }));
    const exact = hits.some(([, t]) => t.name.toLowerCase() === wanted);
    if (this.page.live && wanted && !exact) {
      const ask = { text: `score “${this.input.value.trim()}”`, sort: "any words", run: () => this.ask() };
      // What the data names exactly from its beginning is meant before free words are.
      this.options.splice(hits[0]?.[0] === 0 ? 1 : 0, 0, ask);
    }
    this.show();
    clearTimeout(this.timer);
    if (this.options.length) this.timer = setTimeout(() => this.go(0), 150);
  }

  async ask() {
    const phrase = this.input.value.trim();
    try {
      const thing = await this.page.ask(phrase);
      if (this.input.value.trim() === phrase) await this.page.color(thing);
    } catch (error) {
      this.list.replaceChildren(make("li", { textContent: String(error.message ?? error) }));
    }
  }

  show() {
    const items = this.options.map((option, k) => {
      const item = make("li", { id: `option-${k}`, role: "option", "aria-selected": "false" }, option.text, " ", make("small", { textContent: option.sort }));
      item.onpointerdown = () => this.choose(k);
      return item;
    });
    const none = make("li", { className: "note", textContent: this.page.live ? "Nothing yet" : "Nothing in this page has such a name. lexicell view scores any phrase." });
    this.list.replaceChildren(...(items.length || !this.input.value ? items : [none]));
    this.list.hidden = !this.input.value;
    this.input.setAttribute("aria-expanded", !this.list.hidden);
  }

  go(k) {
    if (!this.options[k]) return;
    this.at = k;
    for (const [i, item] of [...this.list.children].entries()) item.setAttribute("aria-selected", i === k);
    this.input.setAttribute("aria-activedescendant", `option-${k}`);
    return this.options[k].run();
  }

  async choose(k) {
    clearTimeout(this.timer);
    this.close();
    await this.go(k);
    this.page.kept = this.page.things.length;
  }

  close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && this.options.length) {
      event.preventDefault();
      clearTimeout(this.timer);
      this.go((this.at + step + this.options.length) % this.options.length);
    } else if (event.key === "Enter") this.choose(Math.max(0, this.at));
    else if (event.key === "Escape") this.close();
  }
}

function shuffle(n) {
  // In their own order the last groups of a file would hide the others; always the same order all the same.
  const order = Array.from({ length: n }, (_, i) => i);
  let seed = 1;
  for (let i = n - 1; i > 0; i--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((seed / 4294967296) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

function byValue(codes) {
  // High values are what a reader looks for: drawn last. Missing ones, 255, first.
  const rank = (c) => (c === 255 ? 0 : c + 1);
  const starts = new Uint32Array(258);
  for (const c of codes) starts[rank(c) + 1]++;
  for (let k = 0; k < 257; k++) starts[k + 1] += starts[k];
  const order = new Array(codes.length);
  codes.forEach((c, i) => (order[starts[rank(c)]++] = i));
  return order;
}

function ramp(n) {
  const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return Array.from({ length: n }, (_, i) => {
    const t = (i / (n - 1)) * (VIRIDIS.length - 1);
    const k = Math.min(VIRIDIS.length - 2, Math.floor(t));
    const [a, b] = [channels(VIRIDIS[k]), channels(VIRIDIS[k + 1])];
    return "#" + a.map((v, c) => Math.round(v + (b[c] - v) * (t - k)).toString(16).padStart(2, "0")).join("");
  });
}

const decode = (thing, code) => thing.lo + ((thing.hi - thing.lo) * code) / 254;
const dot = (color) => make("span", { className: "swatch", "aria-hidden": "true", style: `background:${color}` });

function countCodes(thing) {
  const counts = new Float64Array(thing.names.length);
  for (const c of thing.codes) if (c < counts.length) counts[c]++;
  return counts;
}

function cellsOf(thing, k) {
  const cells = [];
  thing.codes.forEach((c, i) => c === k && cells.push(i));
  return cells;
}

function maskOf(cells, n) {
  const mask = new Uint8Array(n);
  for (const i of cells) mask[i] = 1;
  return mask;
}

function meanOf(thing, mask) {
  let [sum, count] = [0, 0];
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i] || thing.codes[i] === 255) continue;
    sum += thing.codes[i];
    count++;
  }
  return count ? decode(thing, sum / count) : NaN;
}

function donorMeans(thing, mask, donors) {
  const sums = new Float64Array(65536);
  const counts = new Uint32Array(65536);
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i] || thing.codes[i] === 255) continue;
    sums[donors.codes[i]] += thing.codes[i];
    counts[donors.codes[i]]++;
  }
  return donors.names.map((_, k) => (counts[k] >= FEWEST ? sums[k] / counts[k] : NaN));
}

function agreement(thing, donors, a, b) {
  const [inA, inB] = [donorMeans(thing, a, donors), donorMeans(thing, b, donors)];
  const differences = inA.map((mean, k) => mean - inB[k]).filter(Number.isFinite);
  return differences.length ? `${differences.filter((d) => d > 0).length} of ${differences.length}` : "–";
}

function connectTables(page) {
  for (const button of document.querySelectorAll("button[data-table]")) {
    button.onclick = () => save(`${button.dataset.table}.tsv`, page.at[Number(button.dataset.array)]);
  }
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.onclick = () => navigator.clipboard.writeText($(button.dataset.copy).innerText).then(() => (button.textContent = "Copied"));
  }
}

async function main() {
  prepareTables();
  if (!$("lexicell-data")) return;
  const data = JSON.parse($("lexicell-data").textContent);
  const arrays = await unpack(data);
  data.cells = arrays[data.cells].split("\n");
  const page = new Page(data, arrays);
  connectTables(page);
  if (data.n) {
    document.documentElement.classList.add("alive");
    page.clear();
    await page.start();
  }
  window.lexicell = page;
  document.documentElement.dataset.ready = "yes";
}

main();
