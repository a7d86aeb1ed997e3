"use strict";
// Shows what `page.py` embedded. Everything that a model wrote becomes a text node; no markup is made of data.

const COLOURS = ["#2457c5", "#d1622b", "#1a7f37", "#8a3ffc", "#b7791f", "#0f8b8d", "#c0322b", "#5f6b7a"];
const ROWS = 200; // rows of the list that are drawn at a time
const STRANGE = "first call that changed a wrong class and that the reference does not make in this turn";
const FAILED = "first call of this wrong turn that failed";
const WORDS = { never_closed: "a turn never closed", all_right: "every turn right", any_wrong: "any turn wrong" };

async function decode(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// An element with attributes and children; strings become text.
function el(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "rect", "circle", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const short = (x) => (typeof x !== "number" ? String(x) : Number.isInteger(x) ? String(x) : Math.abs(x) < 0.001 ? x.toExponential(1) : String(Number(x.toPrecision(3))));

// A few round numbers from a to b.
function ticks(a, b) {
  const rough = (b - a) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough * 0.999);
  const found = [];
  for (let n = Math.ceil(a / step - 1e-9); n * step <= b + step * 1e-9; n++) found.push(Number((n * step).toPrecision(12)));
  return found;
}

// Curves ----------------------------------------------------------------------------------------------------

function drawPanel(panel, curves) {
  const [W, H, left, right, top, bottom] = [460, 210, 46, 8, 20, 22];
  const xs = curves.spans.map((s) => s.last).concat(1);
  const ys = panel.lines.flatMap((line) => line.pieces.flat().map((p) => p[1]));
  const x1 = Math.max(...xs);
  let [y0, y1] = [ys.reduce((a, b) => Math.min(a, b)), ys.reduce((a, b) => Math.max(a, b))];
  if (y0 > 0 && y0 < 0.6 * y1) y0 = 0;
  if (y0 === y1) [y0, y1] = [Math.min(0, y0), y1 || 1];
  y1 += 0.12 * (y1 - y0); // room for the gates' words
  const X = (x) => left + ((W - left - right) * x) / x1;
  const Y = (y) => H - bottom - ((H - top - bottom) * (y - y0)) / (y1 - y0);
  const svg = el("svg", { viewBox: `0 0 ${W} ${H}`, role: "img" });
  curves.spans.forEach((span, i) => {
    const band = { x: X(span.first), y: top, width: X(span.last) - X(span.first), height: H - top - bottom };
    svg.append(el("rect", { ...band, fill: i % 2 ? "#f5f6f8" : "#fbfbfc" }));
    const late = X(span.first) > W - 60; // a stage that has just begun
    svg.append(el("text", { x: late ? W - 2 : X(span.first) + 3, y: top - 7, "text-anchor": late ? "end" : "start" }, span.name));
  });
  for (const y of ticks(y0, y1)) {
    svg.append(el("line", { x1: left, x2: W - right, y1: Y(y), y2: Y(y), stroke: "#e5e8ec" }));
    svg.append(el("text", { x: left - 5, y: Y(y) + 4, "text-anchor": "end" }, short(y)));
  }
  for (const x of ticks(0, x1).filter(Number.isInteger)) {
    svg.append(el("text", { x: X(x), y: H - 6, "text-anchor": x === x1 ? "end" : "middle" }, String(x)));
  }
  for (const gate of curves.gates) {
    const ends = gate.verdict !== "continue";
    const colour = gate.verdict === "fall_back" ? "#c0322b" : ends ? "#1a7f37" : "#9aa3af";
    const mark = { class: `gate ${gate.verdict}`, x1: X(gate.x), x2: X(gate.x), y1: ends ? top : H - bottom - 6, y2: H - bottom, stroke: colour, "stroke-width": ends ? 1.5 : 1, "stroke-dasharray": ends ? "4 3" : "none" };
    svg.append(el("line", mark, el("title", {}, `gate, ${gate.stage} step ${gate.step}: ${gate.verdict}, ${gate.reason}`)));
    if (ends) svg.append(el("text", { x: X(gate.x) - 3, y: top + 11, "text-anchor": "end", style: `fill: ${colour}` }, gate.verdict));
  }
  panel.lines.forEach((line, i) => {
    const colour = COLOURS[i % COLOURS.length];
    const path = line.pieces.flatMap((piece) => piece.map(([x, y], n) => `${n ? "L" : "M"}${X(x).toFixed(1)} ${Y(y).toFixed(1)}`)).join("");
    svg.append(el("path", { d: path, fill: "none", stroke: colour, "stroke-width": 1.6 }));
    const dots = line.pieces.flat();
    if (dots.length <= 120) for (const [x, y] of dots) svg.append(el("circle", { cx: X(x), cy: Y(y), r: 2, fill: colour }, el("title", {}, `${line.name}, update ${x}: ${short(y)}`)));
  });
  const legend = el("div", { class: "legend" }, ...panel.lines.map((line, i) => el("span", {}, el("i", { style: `background: ${COLOURS[i % COLOURS.length]}` }), line.name)));
  return el("figure", {}, el("figcaption", {}, panel.title), svg, legend);
}

// The curves of one stage, by its own updates; of all stages if there is none of that name.
function curvesOf(curves, stage) {
  const at = curves.spans.findIndex((span) => span.name === stage);
  if (at < 0) return curves;
  const { first, last } = curves.spans[at];
  const moved = (line) => ({ ...line, pieces: [line.pieces[at].map(([x, y]) => [x - first, y])] });
  return {
    spans: [{ ...curves.spans[at], first: 0, last: last - first }],
    gates: curves.gates.filter((gate) => gate.stage === stage).map((gate) => ({ ...gate, x: gate.x - first })),
    panels: curves.panels.map((panel) => ({ ...panel, lines: panel.lines.map(moved).filter((line) => line.pieces[0].length) })).filter((panel) => panel.lines.length),
  };
}

function drawCurves(all, stage) {
  const curves = curvesOf(all, stage);
  document.getElementById("curves").replaceChildren(...curves.panels.map((panel) => drawPanel(panel, curves)));
}

function drawSummary(front) {
  const rows = front.curves.spans.map((s) => el("tr", {}, ...[s.name, `${s.last - s.first}${s.total === null ? "" : ` of ${s.total}`}`, s.state, s.reason].map((text) => el("td", {}, text))));
  const head = el("tr", {}, ...["stage", "updates", "ended by", "reason"].map((text) => el("th", {}, text)));
  document.getElementById("summary").replaceChildren(el("table", {}, head, ...rows));
  const left = Object.entries(front.left_out).map(([what, count]) => `${count} ${what}`);
  if (left.length) document.getElementById("left-out").append(el("div", {}, `Left out: ${left.join("; ")}.`));
  for (const [reason, count] of Object.entries(front.unexplained)) {
    document.getElementById("left-out").append(el("div", {}, `Without expected state and the reference's calls: ${count} trajectories (${reason}).`));
  }
}

// The list and its filters: the state is the part of the address behind #, so a view can be shared -----------

const FILTERS = {
  stage: (c, i, v) => c.stage[i] === v,
  phase: (c, i, v) => c.phase[i] === v,
  step: (c, i, v) => c.step[i] === Number(v),
  split: (c, i, v) => c.split[i] === v,
  verdict: (c, i, v) => (v === "all_right" ? c.correct[i] === c.turns[i] : v === "any_wrong" ? c.correct[i] < c.turns[i] : c.failures[i].includes(v)),
  stop: (c, i, v) => c.stop[i] === v,
  min: (c, i, v) => c.score[i] >= Number(v),
  max: (c, i, v) => c.score[i] <= Number(v),
  task: (c, i, v) => c.task[i].includes(v),
};
const NUMBERS = { min: "reward at least", max: "reward at most" };

function readState() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

function writeState(changes) {
  const state = Object.entries({ ...readState(), ...changes }).filter(([, value]) => value !== "" && value !== null);
  location.hash = new URLSearchParams(state).toString();
}

function drawFilters(columns) {
  const form = document.getElementById("filters");
  const state = readState();
  const choices = (name) => {
    if (name === "verdict") return ["all_right", "any_wrong", ...new Set(columns.failures.flat())];
    return [...new Set(columns[name])].sort((a, b) => (name === "step" ? a - b : 0));
  };
  for (const name of Object.keys(FILTERS)) {
    let input;
    if (name in NUMBERS) input = el("input", { type: "number", step: "any" });
    else if (name === "task") input = el("input", { type: "search", size: 18 });
    else input = el("select", {}, el("option", { value: "" }, "all"), ...choices(name).map((v) => el("option", { value: v }, WORDS[v] || String(v))));
    input.name = name;
    input.value = state[name] || "";
    input.addEventListener("change", () => writeState({ [name]: input.value, open: null, group: null }));
    form.append(el("label", {}, NUMBERS[name] || name, input));
  }
  form.append(el("button", { type: "button", onclick: () => (location.hash = "") }, "clear"));
  form.addEventListener("submit", (event) => event.preventDefault());
}

function drawList(columns, state) {
  const active = Object.entries(FILTERS).filter(([name]) => state[name]);
  const found = [];
  for (let i = 0; i < columns.task.length; i++) if (active.every(([name, holds]) => holds(columns, i, state[name]))) found.push(i);
  document.getElementById("count").textContent = `${found.length} of ${columns.task.length} trajectories`;
  const list = document.getElementById("list");
  list.replaceChildren();
  const more = (least) => {
    const from = list.querySelectorAll(".row").length;
    const to = Math.max(from + ROWS, least);
    list.querySelector(".more")?.remove();
    list.append(...found.slice(from, to).map((i) => row(columns, i, state)));
    if (found.length > to) list.append(el("button", { class: "more", type: "button", onclick: () => more(0) }, `${found.length - to} more`));
  };
  more(found.indexOf(Number(state.group || state.open)) + 1);
  const open = list.querySelector(".open");
  if (!open) return;
  const above = open.getBoundingClientRect().top - list.getBoundingClientRect().top + list.scrollTop; // only the list moves, not the page
  if (above < list.scrollTop || above + open.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = above - list.clientHeight / 3;
}

function row(columns, i, state) {
  const right = columns.correct[i] === columns.turns[i];
  const open = String(i) === (state.group || state.open);
  return el("button", { type: "button", class: open ? "row open" : "row", "data-index": i, onclick: () => writeState({ open: i, group: null }) },
    el("b", {}, columns.task[i]), " ", el("span", { class: right ? "good" : "bad" }, `${columns.correct[i]}/${columns.turns[i]} turns`), ` · ${short(columns.score[i])}`,
    el("small", {}, `${columns.stage[i]} ${columns.phase[i]} step ${columns.step[i]} · #${columns.member[i]} · ${columns.stop[i]}`));
}

// One episode, or the group that it belongs to ----------------------------------------------------------------

const chunks = new Map();
let prompts = null; // the system prompts, decoded with the first episode

async function episodeAt(index, size) {
  const chunk = Math.floor(index / size);
  if (!chunks.has(chunk)) chunks.set(chunk, decode(`chunk-${chunk}`));
  return (await chunks.get(chunk))[index % size];
}

function groupOf(columns, index) {
  const same = (i) => ["stage", "phase", "step", "uid"].every((name) => columns[name][i] === columns[name][index]);
  return columns.task.map((_, i) => i).filter(same);
}

function drawHint(hint) {
  return hint ? el("div", { class: "hint" }, el("span", { class: "tag" }, `hint · ${hint.rule} · ${hint.category}`), hint.text) : null;
}

// `suspect` is why to look at this call first, or empty.
function drawCall(call, suspect) {
  const words = Object.entries(call.arguments || {}).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return el("div", { class: suspect ? "call suspect" : "call" },
    suspect ? el("div", { class: "tag bad" }, suspect) : null,
    el("code", {}, `${call.name}(${words.join(", ")})`), " ", el("span", { class: `tag ${call.status === "ok" ? "good" : "bad"}` }, call.status || "not run"),
    call.result === null ? null : el("pre", {}, call.result), drawHint(call.hint));
}

function drawStep(step, number, turn, inTraining) {
  const cut = step.outcome === "cut";
  const trained = inTraining && !(cut && !step.text); // a message that was cut before its first token has none
  const suspect = (n) => (turn.suspect !== null && turn.suspect[0] === number && turn.suspect[1] === n ? (turn.strange ? STRANGE : FAILED) : "");
  return el("div", { class: `step ${cut ? "cut" : trained ? "trained" : ""}` },
    el("span", { class: "tag" }, step.outcome), el("span", { class: "tag" }, trained ? "trained on" : "not trained on"),
    cut ? el("span", { class: "tag bad" }, "cut off: the episode stopped here") : null, ...step.limits.map((limit) => el("span", { class: "tag bad" }, `limit: ${limit}`)),
    el("pre", {}, step.text || "(empty)"), ...step.calls.map((call, n) => drawCall(call, suspect(n))), drawHint(step.hint),
    step.observation ? el("details", {}, el("summary", {}, "what the model read next (not trained on)"), el("pre", {}, step.observation)) : null);
}

// Where state differs: the place, the reference's value, the episode's.
function drawDifferences(behind, number) {
  const value = (kind, text) => el("td", { class: kind }, text === "" ? el("i", {}, "not there") : el("code", {}, text));
  const since = (d) => (d.since === number ? "this turn" : `turn ${d.since + 1}`);
  const rows = behind.differences.map((d) => el("tr", {}, el("td", {}, el("code", {}, d.where)), value("expected", d.expected), value("actual", d.actual), el("td", {}, since(d))));
  const head = el("tr", {}, ...["state", "expected (reference)", "actual", "differs since"].map((text) => el("th", {}, text)));
  const more = behind.more ? el("div", { class: "mute" }, `and ${behind.more} more`) : null;
  const old = behind.differences.every((d) => d.since < number) && !behind.more;
  return el("div", { class: "wide" }, el("table", { class: "differences" }, head, ...rows), more, old ? el("div", { class: "mute" }, "All of it was there before this turn: the cause is earlier.") : null);
}

function drawReference(behind) {
  const line = (call) => el("div", { class: "reference" }, el("code", {}, call.text), " ",
    el("span", { class: `tag ${call.made ? "good" : "bad"}` }, call.made ? "made" : "not made in this turn"), call.made && call.missing ? el("span", { class: "tag bad" }, "its result never came") : null);
  return el("div", {}, el("b", {}, "The reference's calls of this turn"), ...(behind.reference.length ? behind.reference.map(line) : [el("div", { class: "mute" }, "(none)")]));
}

function drawVerdict(turn, number, unexplained) {
  const verdict = turn.verdict;
  if (!verdict) return el("div", { class: "verdict bad" }, turn.steps.length || turn.request ? "Never closed: the episode ended before. Counts as wrong." : "Never reached: the episode ended before. Counts as wrong.");
  const said = el("b", { class: verdict.correct ? "good" : "bad" }, verdict.correct ? "right" : `wrong: ${verdict.failure}`);
  const notes = [verdict.forced ? "closed because its steps ran out" : "", verdict.expects_calls ? "" : "the right act was to call nothing"].filter(Boolean);
  const box = el("div", { class: "verdict" }, said, notes.length ? ` (${notes.join("; ")})` : "");
  if (verdict.mismatched_classes.length) box.append(el("div", {}, "State differs from the reference in: ", el("b", {}, verdict.mismatched_classes.join(", "))));
  if (turn.behind && turn.behind.differences.length) box.append(drawDifferences(turn.behind, number));
  if (turn.behind) box.append(drawReference(turn.behind));
  else if (!verdict.correct) box.append(el("div", { class: "mute" }, `Expected state and the reference's calls are not shown: ${unexplained}.`));
  if (verdict.missing_responses.length) {
    const actual = turn.steps.flatMap((step) => step.calls.map((call) => call.result)).filter((result) => result !== null);
    box.append(el("div", { class: "compare" },
      el("div", {}, el("b", {}, "Expected results that never came"), ...verdict.missing_responses.map((text) => el("pre", {}, text))),
      el("div", {}, el("b", {}, "Results of this turn"), ...(actual.length ? actual.map((text) => el("pre", {}, text)) : [el("pre", {}, "(none)")]))));
  }
  return box;
}

function drawTurn(turn, number, trained, unexplained) {
  const kind = turn.verdict ? (turn.verdict.correct ? "right" : "wrong") : "wrong";
  return el("div", { class: `turn ${kind}` },
    el("header", {}, el("b", {}, `Turn ${number + 1} `), el("span", { class: "request" }, turn.request === null ? "(never asked)" : turn.request)),
    el("div", {}, ...turn.steps.map((step, n) => drawStep(step, n, turn, trained)), drawVerdict(turn, number, unexplained)));
}

function drawEpisode(columns, index, episode, prompts) {
  const trained = columns.phase[index] === "train";
  const parts = Object.entries(episode.reward).map(([name, value]) => el("tr", {}, el("td", {}, name), el("td", {}, short(value))));
  const facts = [`reward ${short(columns.score[index])}`, `${columns.correct[index]} of ${columns.turns[index]} turns right`, `stopped: ${columns.stop[index]}`, `${episode.response_tokens} tokens, ${trained ? `${episode.trained_tokens} trained on` : "none trained on (validation)"}`];
  return el("div", {}, el("h3", {}, `${columns.task[index]} #${columns.member[index]}`),
    el("div", { class: "mute" }, `${columns.stage[index]} · ${columns.phase[index]} · step ${columns.step[index]} · ${columns.split[index]}`),
    el("div", { class: "facts" }, ...facts.map((fact) => el("span", {}, fact))),
    el("details", {}, el("summary", {}, "reward parts and numbers that are not 0"), el("table", {}, ...parts)),
    el("details", {}, el("summary", {}, "system prompt"), el("pre", {}, prompts[episode.prompt])),
    ...episode.turns.map((turn, n) => drawTurn(turn, n, trained, episode.unexplained)));
}

async function drawOpen(front, state) {
  const target = document.getElementById("episode");
  const at = state.group || state.open;
  const index = Number(at);
  if (at === undefined || !(index in front.columns.task)) return target.replaceChildren(el("p", { class: "mute" }, "Choose a trajectory."));
  const members = groupOf(front.columns, index);
  const shown = state.group ? members : [index];
  if (!prompts) prompts = decode("prompts");
  const drawn = await Promise.all(shown.map(async (i) => drawEpisode(front.columns, i, await episodeAt(i, front.chunk), await prompts)));
  const scores = members.map((i) => front.columns.score[i]);
  const flat = members.length > 1 && Math.max(...scores) - Math.min(...scores) < 1e-8;
  const switcher = members.length < 2 ? null : state.group
    ? el("button", { type: "button", onclick: () => writeState({ open: index, group: null }) }, "one trajectory")
    : el("button", { type: "button", onclick: () => writeState({ group: index, open: null }) }, `the ${members.length} rollouts of this task side by side`);
  const note = state.group ? el("p", { class: "mute" }, `Rewards ${scores.map(short).join(", ")}.${flat ? " All equal: this group has nothing to teach." : ""}`) : null;
  target.replaceChildren(...[switcher, note, el("div", state.group ? { class: "group" } : {}, ...drawn)].filter(Boolean));
}

async function main() {
  const front = await decode("front");
  drawSummary(front);
  drawFilters(front.columns);
  let stage = null; // whose curves are drawn; undefined for all
  const draw = () => {
    const state = readState();
    for (const input of document.querySelectorAll("#filters [name]")) input.value = state[input.name] || "";
    if (state.stage !== stage) drawCurves(front.curves, state.stage);
    stage = state.stage;
    drawList(front.columns, state);
    return drawOpen(front, state);
  };
  window.addEventListener("hashchange", draw);
  await draw();
  const { open, group } = readState();
  if (open || group) document.querySelector("details").open = false; // a link to a trajectory shows it at once
  document.body.dataset.ready = "yes";
}

main().catch((error) => { document.getElementById("summary").textContent = `The report could not be shown: ${error}`; });
