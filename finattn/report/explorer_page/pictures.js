// The ring and the heat map, each a canvas for all firms and one above it for the firm that is chosen.

// -- canvases ------------------------------------------------------------

function prepare(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas, scale = Math.min(2, window.devicePixelRatio || 1);
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  return { pen, width, height, scale };
}

const letters = (pen, size, weight = 400) => { pen.font = `${weight} ${size}px system-ui, "Segoe UI", Arial, "DejaVu Sans", sans-serif`; };

// Moves sorted places apart by `gap` and no further than they must be, between two bounds.
function spread(wanted, gap, low, high) {
  const pools = [];
  wanted.forEach((value, at) => {
    pools.push({ sum: value - at * gap, size: 1 });
    while (pools.length > 1) {
      const [before, after] = pools.slice(-2);
      if (before.sum / before.size <= after.sum / after.size) break;
      pools.splice(-2, 2, { sum: before.sum + after.sum, size: before.size + after.size });
    }
  });
  const top = high - (wanted.length - 1) * gap;
  const level = pools.flatMap(({ sum, size }) => Array(size).fill(Math.max(low, Math.min(top, sum / size))));
  return level.map((value, at) => value + at * gap);
}

// -- the ring ------------------------------------------------------------

function ringShape() {
  const { clientWidth: width, clientHeight: height } = ring.base;
  const wide = width > 600;
  const radius = Math.max(50, Math.min(height / 2 - 58, width / 2 - (wide ? 196 : 58)));
  const spacing = radius * view.step;
  return { width, height, wide, radius, x: width / 2, y: height / 2, spacing, roomy: spacing >= 11, dot: Math.min(7, 0.36 * spacing) };
}

const polar = (shape, angle, radius) => [shape.x + radius * Math.cos(angle), shape.y + radius * Math.sin(angle)];

function curve(path, shape, from, to, aside = 0) {
  const [a, b] = polar(shape, view.angle[from], shape.radius - 4), [c, d] = polar(shape, view.angle[to], shape.radius - 4);
  const apart = Math.hypot(a - c, b - d) / (2 * shape.radius), pull = 0.88 - 0.7 * apart - aside; // neighbours stay near the rim
  path.moveTo(a, b);
  path.quadraticCurveTo(shape.x + pull * ((a + c) / 2 - shape.x), shape.y + pull * ((b + d) / 2 - shape.y), c, d);
}

const strength = (edge) => Math.min(1, view.edges.weight[edge] / data.scale);

// The heaviest links are drawn at once, the others frame by frame, so that the page never keeps its reader waiting.
const SLICE = 1200;
let drawn = 0;
function drawLinks(pen, shape) {
  const turn = ++drawn, wanted = view.byWeight.filter((edge) => view.rank[edge] <= state.links);
  const busy = Math.min(1, 500 / Math.max(1, wanted.length)) ** 0.5;
  const slice = (from) => {
    if (turn !== drawn) return;
    drawSlice(pen, shape, wanted.slice(from, from + SLICE), busy);
    if (from + SLICE < wanted.length) window.requestAnimationFrame(() => slice(from + SLICE));
  };
  slice(0);
}

function drawSlice(pen, shape, wanted, busy) {
  const { firm, peer } = view.edges, lots = new Map();
  for (const edge of wanted) {
    const within = same(firm[edge], peer[edge]), step = Math.ceil(4 * strength(edge));
    const key = `${within ? looks(firm[edge]).colour : ""} ${step}`;
    if (!lots.has(key)) lots.set(key, { ink: within ? looks(firm[edge]).colour : colour.edge, within, step, edges: [] });
    lots.get(key).edges.push(edge);
  }
  for (const { ink, within, step, edges } of [...lots.values()].sort((one, other) => one.within - other.within)) {
    pen.strokeStyle = ink;
    pen.lineWidth = 0.4 + (0.2 + 0.35 * busy) * step;
    pen.globalAlpha = (within ? 0.25 : 0.12) + 0.4 * busy;
    for (const edge of edges) {
      pen.beginPath();
      curve(pen, shape, firm[edge], peer[edge]);
      pen.stroke();
    }
  }
  pen.globalAlpha = 1;
}

function drawFirm(pen, shape, firm, largest) {
  const angle = view.angle[firm];
  pen.fillStyle = looks(firm).colour;
  if (shape.roomy) {
    const size = Math.max(3, shape.dot * (0.55 + 0.45 * Math.sqrt(view.total[firm] / largest)));
    pen.fill(new Path2D(outline(looks(firm).shape, ...polar(shape, angle, shape.radius), size)));
    return;
  }
  pen.lineWidth = Math.max(1, 0.8 * shape.spacing);
  pen.strokeStyle = pen.fillStyle;
  pen.beginPath();
  pen.moveTo(...polar(shape, angle, shape.radius - 2));
  pen.lineTo(...polar(shape, angle, shape.radius + 3 + 15 * (view.total[firm] / largest)));
  pen.stroke();
}

function drawLabel(pen, shape, firm, angle, ink, weight = 400) {
  const turned = Math.cos(angle) < 0;
  letters(pen, 11.5, weight);
  pen.save();
  pen.translate(...polar(shape, angle, shape.radius + (shape.roomy ? 11 : 26)));
  pen.rotate(turned ? angle + Math.PI : angle);
  pen.textAlign = turned ? "right" : "left";
  pen.textBaseline = "middle";
  pen.fillStyle = ink;
  pen.fillText(short(data.firms[firm], 6), 0, 0);
  pen.restore();
}

function drawBlocks(pen, shape, faint) {
  const out = shape.radius + 60, lines = 2, height = 15;
  const fits = Math.max(1, Math.floor(shape.height / (lines * height + 3)));
  for (const right of [true, false]) {
    const middle = (one) => (one.start + one.end) / 2;
    const theirs = view.blocks.filter((one) => Math.cos(middle(one)) >= 0 === right);
    const shown = theirs.sort((a, b) => b.to - b.from - a.to + a.from).slice(0, fits);
    shown.sort((a, b) => Math.sin(middle(a)) - Math.sin(middle(b)));
    const places = spread(shown.map((one) => shape.y + out * Math.sin(middle(one))), lines * height + 3, height, shape.height - height);
    const sign = right ? 1 : -1, edge = shape.x + sign * (out + 8), room = shape.width / 2 - out - 18;
    shown.forEach((one, at) => {
      pen.strokeStyle = one.colour || colour.soft;
      pen.lineWidth = 1;
      pen.globalAlpha = faint ? 0.3 : 1;
      pen.beginPath();
      pen.moveTo(...polar(shape, middle(one), shape.radius + (shape.roomy ? 54 : 22)));
      pen.lineTo(...polar(shape, middle(one), shape.radius + 57));
      pen.lineTo(edge, places[at]);
      pen.lineTo(edge + sign * 4, places[at]);
      pen.stroke();
      pen.globalAlpha = 1;
      letters(pen, 12);
      pen.fillStyle = colour.ink;
      pen.textAlign = right ? "left" : "right";
      pen.textBaseline = "middle";
      const parts = wrap(pen, one.name, room);
      parts.forEach((part, line) => pen.fillText(part, edge + sign * 8, places[at] + height * (line - (parts.length - 1) / 2)));
    });
  }
}

function wrap(pen, text, room) {
  const parts = [""];
  for (const word of text.split(" ")) {
    const longer = `${parts[parts.length - 1]} ${word}`.trim();
    if (pen.measureText(longer).width <= room || !parts[parts.length - 1]) parts[parts.length - 1] = longer;
    else parts.push(word);
  }
  const kept = parts.slice(0, 2);
  if (parts.length > 2) kept[1] += "…";
  return kept.map((part) => { let cut = part; while (cut.length > 2 && pen.measureText(cut).width > room) cut = `${cut.slice(0, -2)}…`; return cut; });
}

function drawRing() {
  const { pen } = prepare(ring.base), shape = ringShape();
  const largest = Math.max(...view.total, 1e-12);
  drawLinks(pen, shape);
  for (const firm of view.firms) drawFirm(pen, shape, firm, largest);
  if (shape.roomy) for (const firm of view.firms) drawLabel(pen, shape, firm, view.angle[firm], colour.ink);
  drawChosen();
}

function drawChosen() {
  const { pen } = prepare(ring.top), shape = ringShape(), firm = state.firm;
  const there = firm >= 0 && view.place[firm] >= 0;
  ring.base.classList.toggle("faded", there);
  if (shape.wide) drawBlocks(pen, shape, there);
  if (!there) return;
  const { edges, asks, asked } = view, largest = Math.max(...view.total, 1e-12);
  const draw = (list, ink, dashes, aside) => {
    pen.strokeStyle = ink;
    pen.setLineDash(dashes);
    for (const edge of list) {
      pen.lineWidth = 0.8 + 3.2 * strength(edge);
      pen.globalAlpha = 0.45 + 0.5 * strength(edge);
      pen.beginPath();
      curve(pen, shape, edges.firm[edge], edges.peer[edge], aside);
      pen.stroke();
    }
    pen.globalAlpha = 1;
    pen.setLineDash([]);
  };
  draw(asked[firm], colour.asked, [5, 4], 0.14); // beside the link the other way
  draw(asks[firm], colour.asks, [], 0);
  const peers = asks[firm].map((edge) => edges.peer[edge]), askers = asked[firm].map((edge) => edges.firm[edge]);
  const shown = new Set([firm, ...peers, ...askers]);
  for (const one of shown) drawFirm(pen, shape, one, largest);
  mark(pen, shape, firm);
  const labelled = [...new Set([firm, ...peers.slice(0, 24), ...(shape.roomy ? askers : askers.slice(0, 12))])].sort((a, b) => view.angle[a] - view.angle[b]);
  const gap = 12.5 / (shape.radius + 26);
  const places = shape.roomy ? labelled.map((one) => view.angle[one]) : spread(labelled.map((one) => view.angle[one]), gap, -Math.PI / 2, 1.5 * Math.PI - gap);
  labelled.forEach((one, at) => {
    if (!shape.roomy) {
      pen.strokeStyle = colour.soft;
      pen.lineWidth = 0.7;
      pen.beginPath();
      pen.moveTo(...polar(shape, view.angle[one], shape.radius + 4 + 15 * (view.total[one] / largest)));
      pen.lineTo(...polar(shape, places[at], shape.radius + 24));
      pen.stroke();
    }
    const ink = one === firm || peers.includes(one) ? colour.asks : colour.asked;
    drawLabel(pen, shape, one, places[at], ink, one === firm ? 700 : 400);
  });
}

function mark(pen, shape, firm) {
  const [x, y] = polar(shape, view.angle[firm], shape.radius);
  pen.strokeStyle = colour.ink;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(x, y, Math.max(6, shape.roomy ? shape.dot + 3 : 6), 0, 2 * Math.PI);
  pen.stroke();
}

function firmAt(event) {
  const box = ring.box.getBoundingClientRect(), shape = ringShape();
  const x = event.clientX - box.left - shape.x, y = event.clientY - box.top - shape.y;
  const distance = Math.hypot(x, y);
  if (distance < shape.radius - 16 || distance > shape.radius + 56) return -1;
  const turn = (firm) => Math.abs(((Math.atan2(y, x) - view.angle[firm] + 5 * Math.PI) % (2 * Math.PI)) - Math.PI);
  const near = view.firms.reduce((best, firm) => (best < 0 || turn(firm) < turn(best) ? firm : best), -1);
  return near >= 0 && turn(near) * shape.radius < Math.max(8, shape.spacing) ? near : -1;
}

// -- the heat map ------------------------------------------------------------

function mapShape() {
  const side = Math.min(map.base.clientWidth, map.base.clientHeight), size = view.firms.length;
  const labelled = (side - 58) / size >= 11, margin = labelled ? 58 : 10;
  return { side, size, labelled, margin, cell: (side - margin) / Math.max(1, size) };
}

const rgb = (text) => [1, 3, 5].map((at) => parseInt(text.length === 4 ? text[(at + 1) / 2].repeat(2) : text.slice(at, at + 2), 16));

function ramp(value) {
  const stops = [colour.low, colour.middle, colour.high].map(rgb), at = Math.min(0.9999, value) * 2, low = Math.floor(at);
  return stops[low].map((from, place) => Math.round(from + (at - low) * (stops[low + 1][place] - from)));
}

const held = document.createElement("canvas"); // a pixel for each cell, or for a few where there are more cells
function drawCells(shape, scale) {
  const pixels = Math.max(1, Math.min(shape.size, Math.floor(shape.cell * shape.size * scale)));
  const colours = Uint32Array.from({ length: 65 }, (_, step) => ramp(step / 64).reduce((all, value, at) => all + value * 256 ** at, 255 * 256 ** 3));
  const image = new ImageData(pixels, pixels), whole = new Uint32Array(image.data.buffer); // little-endian, as all machines with a browser
  const { firm, peer, weight } = view.edges, to = (place) => Math.floor((place * pixels) / shape.size);
  for (let at = view.byWeight.length - 1; at >= 0; at--) {
    const edge = view.byWeight[at]; // the heaviest last: it stands where several fall together
    whole[to(view.place[firm[edge]]) * pixels + to(view.place[peer[edge]])] = colours[Math.round(64 * Math.min(1, weight[edge] / data.scale))];
  }
  Object.assign(held, { width: pixels, height: pixels });
  held.getContext("2d").putImageData(image, 0, 0);
}

function drawMap() {
  const { pen, scale } = prepare(map.base), shape = mapShape(), { margin, side, cell } = shape;
  drawCells(shape, scale);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(held, margin, margin, side - margin, side - margin);
  pen.strokeStyle = colour.line;
  pen.lineWidth = 1;
  pen.strokeRect(margin, margin, side - margin - 0.5, side - margin - 0.5);
  if (view.blocks.length <= 60) {
    pen.beginPath();
    for (const { from } of view.blocks.slice(1)) {
      const at = margin + from * cell;
      pen.moveTo(margin, at); pen.lineTo(side, at); pen.moveTo(at, margin); pen.lineTo(at, side);
    }
    pen.stroke();
  }
  view.firms.forEach((firm, at) => {
    pen.fillStyle = looks(firm).colour;
    pen.fillRect(margin - 7, margin + at * cell, 5, cell + 0.5);
    pen.fillRect(margin + at * cell, margin - 7, cell + 0.5, 5);
    if (shape.labelled) labelCell(pen, shape, firm, at);
  });
  drawCross();
}

function labelCell(pen, { margin, cell }, firm, at) {
  letters(pen, Math.min(11.5, cell));
  pen.fillStyle = colour.ink;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  pen.fillText(short(data.firms[firm], 6), margin - 11, margin + (at + 0.5) * cell);
  pen.save();
  pen.translate(margin + (at + 0.5) * cell, margin - 11);
  pen.rotate(-Math.PI / 2);
  pen.textAlign = "left";
  pen.fillText(short(data.firms[firm], 6), 0, 0);
  pen.restore();
}

function drawCross() {
  const { pen } = prepare(map.top), { margin, side, cell } = mapShape(), at = state.firm >= 0 ? view.place[state.firm] : -1;
  if (at < 0) return;
  const thick = Math.max(cell, 4), place = (index) => margin + (index + 0.5) * cell - thick / 2;
  pen.lineWidth = 1.6;
  pen.setLineDash([5, 4]);
  pen.strokeStyle = colour.asked;
  pen.strokeRect(place(at), margin, thick, side - margin);
  pen.setLineDash([]);
  pen.strokeStyle = colour.asks;
  pen.strokeRect(margin, place(at), side - margin, thick);
  if (state.pair >= 0 && view.place[state.pair] >= 0) {
    pen.lineWidth = 3;
    pen.strokeStyle = colour.asked;
    pen.strokeRect(place(view.place[state.pair]) - 1, place(at) - 1, thick + 2, thick + 2);
  }
}

function cellAt(event) {
  const box = map.box.getBoundingClientRect(), { margin, cell, size } = mapShape();
  const [column, row] = [event.clientX - box.left, event.clientY - box.top].map((at) => Math.floor((at - margin) / cell));
  return row >= 0 && column >= 0 && row < size && column < size ? [view.firms[row], view.firms[column]] : null;
}
