// What the reader does, by pointer and by keyboard, and the first view.

// -- what the reader does ------------------------------------------------------------

function say() {
  const { firm, pair } = state;
  if (firm < 0 || view.place[firm] < 0) by("readout").textContent = "";
  else if (pair >= 0 && view.place[pair] >= 0) by("readout").textContent = sayPair(firm, pair);
  else by("readout").textContent = `${named(firm)} asks ${many(view.asks[firm].length, "firm")} and is asked by ${view.asked[firm].length.toLocaleString("en")}.`;
}

function chosen() {
  drawChosen();
  drawCross();
  fill();
  say();
  remember();
}

function choose(firm, focus = false) {
  Object.assign(state, { firm, pair: -1, all: {} });
  by("search").value = firm < 0 ? "" : data.firms[firm];
  chosen();
  if (focus) by("heading").focus({ preventScroll: true });
}

let later = 0;
function remember() {
  window.clearTimeout(later); // a new address is slow to set: once the reader pauses
  later = window.setTimeout(address, 400);
}

function address() {
  const where = new URLSearchParams({ date: data.dates[state.day], level: state.level, order: state.order, links: state.links });
  if (state.firm >= 0) where.set("firm", data.firms[state.firm]);
  window.location.replace(`#${where}`);
}

function recall() {
  const where = new URLSearchParams(window.location.hash.slice(1)), day = data.dates.indexOf(where.get("date"));
  const number = (name, low, high, otherwise) => { const value = parseInt(where.get(name), 10); return value >= low && value <= high ? value : otherwise; };
  state.day = day < 0 ? last : day;
  state.level = number("level", 0, data.levels.length - 1, data.level);
  state.order = where.get("order") === "community" ? "community" : "levels";
  state.links = number("links", 1, most, Math.max(1, Math.min(most, Math.floor(3000 / Math.max(1, count)))));
  state.firm = data.firms.indexOf(where.get("firm"));
}

function redraw() {
  const style = window.getComputedStyle(document.documentElement);
  for (const name of ["ground", "ink", "soft", "line", "accent", "asks", "asked", "edge", "low", "middle", "high"]) colour[name] = style.getPropertyValue(`--${name}`).trim();
  look();
  by("day").textContent = data.dates[state.day];
  by("date").setAttribute("aria-valuetext", data.dates[state.day]);
  by("count").textContent = state.links === most ? "all" : state.links;
  by("ring").setAttribute("aria-label", `Ring of ${view.firms.length} firms on ${data.dates[state.day]}`);
  by("map").setAttribute("aria-label", `Heat map of who asks whom, ${view.firms.length} firms on ${data.dates[state.day]}`);
  drawRing();
  drawMap();
  fill();
  say();
}

function keys() {
  const line = (ink, dashes) => drawing(26, 10, ["path", { d: "M0,5H26", stroke: ink, "stroke-width": 2.5, "stroke-dasharray": dashes }]);
  const key = (mark, text) => element("span", { className: "key" }, mark, text);
  by("ring-key").replaceChildren(key(line(colour.asks, "none"), "asks"), key(line(colour.asked, "5 4"), "is asked by"), key(line(COLOURED, "none"), "within an industry"), key(line(colour.edge, "none"), "across industries"));
  by("scale").style.background = `linear-gradient(90deg, ${colour.low}, ${colour.middle}, ${colour.high})`;
  by("scale-high").textContent = `${percent(data.scale, 1)}% or more`;
  by("legend-title").textContent = `Colours and shapes: ${levelName()}`;
  const present = view.groups.map((group, at) => [group, view.group.filter((one) => one === at).length]).filter(([, firms]) => firms);
  by("legend").replaceChildren(...present.map(([group, firms]) => element("li", {}, symbol(group), `${group.name} (${firms})`)));
}
const COLOURED = data.levels[0].groups.length > 1 ? data.levels[0].groups[1].colour : "#0072B2";

const refresh = () => { redraw(); keys(); };
const changed = () => { refresh(); remember(); };

// -- searching ------------------------------------------------------------

const search = by("search"), found = by("found");
let active = -1;

function matches(text) {
  const sought = text.trim().toLowerCase();
  const score = (firm) => {
    const id = data.firms[firm].toLowerCase(), name = data.names[firm].toLowerCase();
    return id === sought ? 0 : id.startsWith(sought) ? 1 : name.startsWith(sought) ? 2 : id.includes(sought) || name.includes(sought) ? 3 : 9;
  };
  return data.firms.map((_, firm) => [score(firm), firm]).filter(([rank]) => rank < 9).sort((a, b) => a[0] - b[0] || a[1] - b[1]).slice(0, 60);
}

function list() {
  const options = matches(search.value).map(([, firm], at) => {
    const option = element("li", { role: "option", id: `found-${at}`, "aria-selected": "false", textContent: named(firm) });
    option.dataset.firm = firm;
    return option;
  });
  found.replaceChildren(...options);
  show(options.length > 0);
  point(options.length ? 0 : -1);
}

function show(open) {
  found.hidden = !open;
  search.setAttribute("aria-expanded", String(open));
  if (!open) point(-1);
}

function point(at) {
  const options = found.children;
  if (options[active]) options[active].setAttribute("aria-selected", "false");
  active = at;
  if (!options[at] || found.hidden) { search.removeAttribute("aria-activedescendant"); return; }
  options[at].setAttribute("aria-selected", "true");
  options[at].scrollIntoView({ block: "nearest" });
  search.setAttribute("aria-activedescendant", options[at].id);
}

search.addEventListener("input", list);
search.addEventListener("focus", () => search.select());
search.addEventListener("blur", () => show(false));
search.addEventListener("keydown", (event) => {
  const size = found.children.length;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (found.hidden) list();
    else point((active + (event.key === "ArrowDown" ? 1 : size - 1)) % size);
  } else if (event.key === "Enter") {
    event.preventDefault();
    if (found.hidden) list();
    const option = found.children[active];
    if (option) choose(Number(option.dataset.firm));
    show(false);
  } else if (event.key === "Escape" && !found.hidden) {
    event.stopPropagation();
    show(false);
  }
});
found.addEventListener("pointerdown", (event) => {
  event.preventDefault(); // the focus stays where the text is
  const option = event.target.closest("li");
  if (option) { choose(Number(option.dataset.firm)); show(false); }
});

// -- pointers and keys ------------------------------------------------------------

const tip = by("tip");
function hover(event, text) {
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  tip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 6)}px`;
  tip.style.top = `${Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 6)}px`;
}

ring.box.addEventListener("pointermove", (event) => { const firm = firmAt(event); hover(event, firm < 0 ? "" : `${named(firm)}, ${looks(firm).name}`); });
map.box.addEventListener("pointermove", (event) => { const cell = cellAt(event); hover(event, cell ? sayPair(...cell) : ""); });
for (const { box } of [ring, map]) box.addEventListener("pointerleave", (event) => hover(event, ""));
ring.box.addEventListener("click", (event) => choose(firmAt(event)));
map.box.addEventListener("click", (event) => {
  const cell = cellAt(event);
  if (!cell) return;
  choose(cell[0]);
  if (cell[0] !== cell[1]) { state.pair = cell[1]; drawCross(); say(); }
});

const around = (list, at, by) => list[(at + by + list.length) % list.length];
function walk(event, next, before) {
  if (event.key !== next && event.key !== before || !view.firms.length) return;
  event.preventDefault();
  const at = state.firm >= 0 ? view.place[state.firm] : -1;
  choose(at < 0 ? view.firms[0] : around(view.firms, at, event.key === next ? 1 : -1));
}
ring.box.addEventListener("keydown", (event) => { walk(event, "ArrowRight", "ArrowLeft"); walk(event, "ArrowDown", "ArrowUp"); });
map.box.addEventListener("keydown", (event) => {
  walk(event, "ArrowDown", "ArrowUp");
  if ((event.key !== "ArrowRight" && event.key !== "ArrowLeft") || state.firm < 0) return;
  event.preventDefault();
  const peers = view.asks[state.firm].map((edge) => view.edges.peer[edge]).sort((a, b) => view.place[a] - view.place[b]);
  if (!peers.length) return;
  const at = peers.indexOf(state.pair), right = event.key === "ArrowRight";
  state.pair = at < 0 ? peers[right ? 0 : peers.length - 1] : around(peers, at, right ? 1 : -1);
  drawCross();
  say();
});

document.addEventListener("keydown", (event) => { if (event.key === "Escape") { hover(event, ""); choose(-1); } });
by("clear").addEventListener("click", () => choose(-1));
by("controls").addEventListener("submit", (event) => event.preventDefault());
by("date").addEventListener("input", (event) => { state.day = Number(event.target.value); changed(); });
by("links").addEventListener("input", (event) => { state.links = Number(event.target.value); changed(); });
by("level").addEventListener("change", (event) => { state.level = Number(event.target.value); changed(); });
by("order").addEventListener("change", (event) => { state.order = event.target.value; changed(); });

// -- the first view ------------------------------------------------------------

recall();
by("heading").tabIndex = -1;
by("level").replaceChildren(...data.levels.map((one, at) => element("option", { value: at, textContent: one.name })));
Object.assign(by("level"), { value: state.level });
Object.assign(by("order"), { value: state.order });
Object.assign(by("date"), { max: last, value: state.day, disabled: !last });
Object.assign(by("links"), { max: most, value: state.links, disabled: most === 1 });
if (state.firm >= 0) search.value = data.firms[state.firm];
refresh();
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
let width = ring.box.clientWidth;
new ResizeObserver(() => { if (ring.box.clientWidth !== width) { width = ring.box.clientWidth; refresh(); } }).observe(ring.box);
performance.mark("first-view");

// The other dates are made ready while the reader looks at this one.
const idle = window.requestIdleCallback || ((work) => window.setTimeout(work, 200));
const ahead = (day) => { if (day >= 0) idle(() => { dayOf(day); ahead(day - 1); }); };
ahead(last);
