// What the page is about: its data, one date in one order, and words. Text of the data enters pages by textContent and
// canvases alone.
"use strict";

const by = (id) => document.getElementById(id);
const data = JSON.parse(by("content").textContent);
const count = data.firms.length;
const last = data.dates.length - 1;
const most = Math.max(1, ...data.edges.map((edges) => heaviestRank(edges)));
const state = { day: last, level: data.level, order: "levels", links: 1, firm: -1, pair: -1, all: {} };
const [ring, map] = ["ring", "map"].map((id) => {
  const [base, top] = by(id).querySelectorAll("canvas");
  return { box: by(id), base, top };
});
let colour = {}; // of the page's style, light or dark
let view = null; // one date in one order

// -- one date ------------------------------------------------------------

function heaviestRank(edges) {
  let largest = 0, rank = 0;
  edges.firm.forEach((firm, place) => {
    rank = place && edges.firm[place - 1] === firm ? rank + 1 : 1;
    largest = Math.max(largest, rank);
  });
  return largest;
}

const days = new Map();
function dayOf(day) {
  if (!days.has(day)) {
    const edges = data.edges[day];
    const asks = data.firms.map(() => []), asked = data.firms.map(() => []), pairs = new Map();
    const total = new Float64Array(count), rank = new Int32Array(edges.firm.length);
    edges.firm.forEach((firm, edge) => {
      rank[edge] = asks[firm].push(edge);
      asked[edges.peer[edge]].push(edge);
      pairs.set(firm * count + edges.peer[edge], edge);
      total[edges.peer[edge]] += edges.weight[edge];
    });
    asked.forEach((list) => list.sort((a, b) => edges.weight[b] - edges.weight[a]));
    const byWeight = rank.map((_, edge) => edge).sort((a, b) => edges.weight[b] - edges.weight[a]);
    days.set(day, { edges, asks, asked, pairs, total, rank, byWeight });
  }
  return days.get(day);
}

function look() {
  const { day, level, order } = state;
  const groups = data.levels[level].groups, group = data.levels[level].of[day];
  const firms = order === "levels" ? data.order.levels[level][day] : data.order.community[day];
  const block = order === "levels" ? group : data.communities[day];
  const place = new Int32Array(count).fill(-1), blocks = [];
  firms.forEach((firm, at) => {
    place[firm] = at;
    if (!at || block[firm] !== blocks[blocks.length - 1].id) blocks.push({ id: block[firm], from: at, to: at });
    blocks[blocks.length - 1].to = at;
  });
  const byLevel = order === "levels";
  for (const one of blocks) {
    one.name = byLevel ? groups[one.id].name : `Community ${one.id}`;
    one.colour = byLevel ? groups[one.id].colour : null;
  }
  const gap = blocks.length > 1 ? Math.min(1.5, (0.12 * firms.length) / blocks.length) : 0;
  const step = (2 * Math.PI) / Math.max(1, firms.length + gap * blocks.length), angle = new Float64Array(count);
  blocks.forEach((one, before) => {
    for (let at = one.from; at <= one.to; at++) angle[firms[at]] = -Math.PI / 2 + step * (at + 0.5 + gap * (before + 0.5));
    one.start = angle[firms[one.from]] - step / 2;
    one.end = angle[firms[one.to]] + step / 2;
  });
  view = { ...dayOf(day), firms, place, blocks, angle, step, groups, group };
}

const same = (a, b) => view.group[a] > 0 && view.group[a] === view.group[b];
const looks = (firm) => view.groups[Math.max(0, view.group[firm])];

// -- words ------------------------------------------------------------

const percent = (value, digits) => (value === null ? "—" : digits === undefined ? (100 * value).toPrecision(3) : (100 * value).toFixed(digits));
const named = (firm) => (data.names[firm] && data.names[firm] !== data.firms[firm] ? `${data.firms[firm]} ${data.names[firm]}` : data.firms[firm]);
const many = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
const short = (text, most) => { const signs = Array.from(text); return signs.length > most ? `${signs.slice(0, most - 1).join("")}…` : text; };
const interval = (edge) => {
  const { lower, upper } = view.edges;
  return lower[edge] === null ? "—" : `${percent(lower[edge])}–${percent(upper[edge])}`;
};
const levelName = () => data.levels[state.level].name;

function sayPair(row, column) {
  if (row === column) return `${data.firms[row]} itself`;
  const edge = view.pairs.get(row * count + column);
  const who = `${data.firms[row]} asks ${data.firms[column]}`;
  if (edge === undefined) return `${who}: no link kept`;
  const sure = view.edges.lower[edge] === null ? "" : `, interval ${interval(edge)}`;
  return `${who}: ${percent(view.edges.weight[edge])}%${sure}${same(row, column) ? ", same industry" : ""}`;
}

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function drawing(width, height, ...shapes) {
  const space = "http:" + "//www.w3.org/2000/svg";
  const make = (tag, given) => {
    const made = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(given)) made.setAttribute(name, value);
    return made;
  };
  const made = make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  made.append(...shapes.map(([tag, given]) => make(tag, given)));
  return made;
}

const symbol = (group) => drawing(14, 14, ["path", { d: outline(group.shape, 7, 7, 5.5), fill: group.colour }]);

function outline(shape, x, y, r) {
  if (shape === 0) return `M${x - r},${y}a${r},${r} 0 1 0 ${2 * r},0a${r},${r} 0 1 0 ${-2 * r},0Z`;
  const s = r * (shape === 1 ? 0.88 : 1.15);
  if (shape === 1) return `M${x - s},${y - s}h${2 * s}v${2 * s}h${-2 * s}Z`;
  if (shape === 2) return `M${x},${y - s}L${x + s},${y}L${x},${y + s}L${x - s},${y}Z`;
  return `M${x},${y - s}L${x + s},${y + 0.8 * s}H${x - s}Z`;
}
