// A firm's peers, who asks it, and its industry beside them.

// -- tables ------------------------------------------------------------

function whiskers(edge, largest) {
  const { weight, lower, upper } = view.edges, x = (value) => 3 + (94 * value) / largest;
  const line = lower[edge] === null ? [] : [["path", { d: `M${x(lower[edge])},8H${x(upper[edge])}M${x(lower[edge])},5v6M${x(upper[edge])},5v6`, stroke: "currentColor", fill: "none", "stroke-width": 1.2 }]];
  const made = drawing(100, 16, ["path", { d: "M3,15.5H97", stroke: colour.line }], ...line, ["path", { d: `M${x(weight[edge])},2.5v11`, stroke: colour.accent, "stroke-width": 3 }]);
  made.setAttribute("preserveAspectRatio", "none");
  return made;
}

function firmCell(firm) {
  const button = element("button", { type: "button", className: "firm", title: named(firm), textContent: data.firms[firm] });
  button.addEventListener("click", () => choose(firm, true));
  const name = data.names[firm] === data.firms[firm] ? "" : ` ${data.names[firm]}`;
  return element("th", { scope: "row" }, button, element("span", { className: "name", textContent: name }));
}

function table(key, title, note, heads, rows) {
  const box = by(key), most = 20, shown = state.all[key] ? rows : rows.slice(0, most);
  const columns = heads.map(([, width]) => element("col", { width }));
  const head = element("tr", {}, ...heads.map(([text]) => element("th", { scope: "col", textContent: text })));
  const body = shown.map((cells) => element("tr", {}, ...cells().map((cell) => (cell instanceof Node ? cell : element("td", { textContent: cell })))));
  const parts = [element("h3", { textContent: title }), element("p", { className: "note", textContent: note })];
  if (rows.length) parts.push(element("table", {}, element("caption", { className: "hidden", textContent: title }), element("colgroup", {}, ...columns), element("thead", {}, head), element("tbody", {}, ...body)));
  if (rows.length > most) {
    const more = element("button", { type: "button", className: "more", textContent: state.all[key] ? `Show ${most}` : `Show all ${rows.length}` });
    more.addEventListener("click", () => { state.all[key] = !state.all[key]; fill(); by(key).querySelector(".more").focus(); });
    parts.push(more);
  }
  box.replaceChildren(...parts);
}

const picture = (edge, largest) => element("td", {}, edge === undefined ? "" : whiskers(edge, largest));
const marked = (yes) => {
  const cell = element("td", { className: "mark" }, element("span", { "aria-hidden": "true", textContent: yes ? "●" : "○" }));
  cell.append(element("span", { className: "hidden", textContent: yes ? "same" : "other" }));
  return cell;
};
const level = () => (data.made.level ? `${Math.round(100 * data.made.level)}% interval` : "Interval");

function beside(firm, mine, inside, mates) {
  const industry = view.groups[view.group[firm]].name, left = mates.length - inside.length;
  if (view.group[firm] <= 0) return `No industry code of ${data.firms[firm]} is known, so that its peers cannot be held beside its industry.`;
  if (!mates.length) return `No other firm of its industry, ${industry}, is listed on this date; choose a coarser level to hold its peers beside it.`;
  const sum = (list) => list.reduce((total, edge) => total + view.edges.weight[edge], 0);
  const chance = (mine.length * mates.length) / Math.max(1, view.firms.length - 1);
  return `${inside.length} of the ${many(mine.length, "firm")} that it asks ${inside.length === 1 ? "is" : "are"} of its own industry, ${industry}; picked blindly it would be ${chance.toFixed(1)}. ` +
    `They hold ${percent(sum(inside), 1)} of the ${percent(sum(mine), 1)}% that its forecast draws on those firms. ` +
    `${left} of ${many(mates.length, "other firm")} of its industry ${left === 1 ? "is" : "are"} not among them.`;
}

function fillFirm(firm) {
  const { edges, asks, asked, group, firms } = view, mine = asks[firm], theirs = asked[firm];
  const largest = Math.max(1e-12, ...[...mine, ...theirs].map((edge) => edges.upper[edge] || edges.weight[edge]));
  const mates = firms.filter((other) => other !== firm && same(other, firm)), known = group[firm] > 0;
  const inside = mine.filter((edge) => same(firm, edges.peer[edge]));
  by("sentence").textContent = beside(firm, mine, inside, mates);
  const heads = [["Firm", "22%"], ["Strength", "20%"], ["%", "13%"], [level() + ", %", "27%"], ["Same industry", "18%"]];
  const row = (edge, other) => () => [firmCell(other), picture(edge, largest), percent(edges.weight[edge]), interval(edge), marked(same(firm, other))];
  table("asks", `${data.firms[firm]} asks`, `${many(mine.length, "firm")}: share of its forecast that draws on each`, heads, mine.map((edge) => row(edge, edges.peer[edge])));
  table("asked", `${data.firms[firm]} is asked by`, `${many(theirs.length, "firm")}: share of their forecasts that draws on it`, heads, theirs.map((edge) => row(edge, edges.firm[edge])));
  const rank = (other) => { const edge = view.pairs.get(firm * count + other); return edge === undefined ? Infinity : view.rank[edge]; };
  mates.sort((a, b) => (rank(a) === rank(b) ? view.place[a] - view.place[b] : rank(a) - rank(b)));
  const rows = mates.map((other) => () => {
    const edge = view.pairs.get(firm * count + other);
    return [firmCell(other), picture(edge, largest), edge === undefined ? "—" : percent(edges.weight[edge]), edge === undefined ? "not asked" : `asked, no. ${rank(other)}`];
  });
  const title = known ? `Its industry: ${view.groups[group[firm]].name}` : "Its industry";
  const note = known ? `${levelName()}: ${many(mates.length, "other firm")}, ${inside.length} of them asked` : "No code is known on this date";
  table("same", title, note, [["Firm", "40%"], ["Strength", "20%"], ["%", "14%"], ["Learned peer?", "26%"]], rows);
}

function fillAll() {
  const { edges, firms, total, asks, asked, group } = view;
  const members = {};
  for (const firm of firms) if (group[firm] > 0) members[group[firm]] = (members[group[firm]] || 0) + 1;
  let inside = 0, chance = 0;
  for (let edge = 0; edge < edges.firm.length; edge++) inside += same(edges.firm[edge], edges.peer[edge]) ? 1 : 0;
  for (const firm of firms) if (group[firm] > 0) chance += (asks[firm].length * (members[group[firm]] - 1)) / Math.max(1, firms.length - 1);
  const links = edges.firm.length, share = (number) => `${percent(number / Math.max(1, links), 1)}%`;
  by("sentence").textContent = `${many(links, "link")}. ${share(inside)} of them stay within an industry (${levelName()}); picked blindly it would be ${share(chance)}. Choose a firm to see whom it asks.`;
  const sorted = firms.filter((firm) => total[firm] > 0).sort((a, b) => total[b] - total[a]);
  const rows = sorted.map((firm) => () => [firmCell(firm), asked[firm].length.toLocaleString("en"), percent(total[firm] / firms.length), looks(firm).name]);
  const heads = [["Firm", "32%"], ["Asked by", "20%"], ["%", "14%"], ["Industry", "34%"]];
  table("asks", "Most asked", "Mean share of all firms' forecasts that draws on them", heads, rows);
  by("asked").replaceChildren();
  by("same").replaceChildren();
}

function fill() {
  const firm = state.firm, day = data.dates[state.day];
  if (firm >= 0 && view.place[firm] >= 0) {
    by("heading").textContent = `${named(firm)}, ${day}`;
    fillFirm(firm);
  } else {
    by("heading").textContent = firm >= 0 ? `${named(firm)} is not listed on ${day}` : `All ${many(view.firms.length, "firm")}, ${day}`;
    fillAll();
  }
}
