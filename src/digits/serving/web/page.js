// The page: pen and buttons change the drawing, each change is asked about, answers are shown.

import { Drawing, SIDE } from "./drawing.js";
import { Asker, getJson, token, TokenWanted, unavailable } from "./service.js";

const $ = (id) => document.getElementById(id);
const paper = $("paper");
const drawing = new Drawing();
const current = () => (drawing.empty ? null : drawing.toBlob());
const asker = new Asker(current, () => $("other").value, tell);
let classes = [];

// --- showing

function repaint() {
  const style = getComputedStyle(document.documentElement);
  const colours = { paper: style.getPropertyValue("--paper"), ink: style.getPropertyValue("--ink") };
  drawing.paint(paper, colours);
  if (cursor) paintCursor();
  $("undo").disabled = !drawing.done.length;
  $("redo").disabled = !drawing.undone.length;
  $("clear").disabled = drawing.empty;
}

function changed() {
  repaint();
  notice("other", "");
  asker.ask();
}

const REASONS = {
  blank: "No ink found",
  several: "Several digits, read one by one",
  too_small: "Too small to tell: go nearer, or draw it larger",
  unsure: "Not sure",
  unlike_a_digit: "That does not look like a digit",
};

async function tell({ answer, other, refused, tokenWanted, away, busy, blank }) {
  if (tokenWanted) return askForToken();
  notice("service", waiting({ away, busy }, "Your drawing is kept; trying again …"));
  // Where it cannot be had now, the next answer asks for it.
  if (answer && identity(answer.model) !== described) await describeModel().catch(() => {});
  if (answer) show(answer, other);
  else if (refused) showNothing(refused);
  else if (blank) showNothing("Nothing drawn yet");
}

function waiting({ away, busy }, then) {
  return away ? `The service does not answer. ${then}` : busy ? `The service is busy. ${then}` : "";
}

function askForToken() {
  notice("service", "This service asks for a token.");
  $("login").hidden = false;
  $("token").focus();
}

$("login").onsubmit = (event) => {
  event.preventDefault();
  token.set($("token").value);
  $("login").hidden = true;
  notice("service", "");
  classes.length ? asker.ask() : startOnceThere();
};

// What is wrong, by what it is about: each is said until it is over, whatever comes of the other.
const wrong = { service: "", other: "" };
function notice(about, text) {
  wrong[about] = text;
  const said = Object.values(wrong).filter(Boolean).join(" ");
  $("notice").hidden = !said;
  $("notice").textContent = said;
}

// What was read, to be seen from afar, and how sure that is.
function words(answer) {
  // Nobody is ever 100.0 % sure.
  const sure = answer.confidence < 0.9995 ? `${percent(answer.confidence)} sure` : "over 99.9 % sure";
  const verdict = answer.accepted ? sure : (REASONS[answer.reason] ?? answer.reason);
  const row = answer.row.map((part) => (part.accepted ? part.digit : `${part.digit}?`)).join("");
  const doubtful = answer.reason === "unsure" ? `${answer.digit}?` : "?";
  return [answer.accepted ? `${answer.digit}` : row || doubtful, verdict];
}

function show(answer, other) {
  const [read, verdict] = words(answer);
  $("digit").textContent = read;
  $("verdict").textContent = verdict;
  bars(0, answer.probabilities);
  paintFrame("seen", "size", answer.frame);
  $("latency").textContent = `${answer.latencyMs.toFixed(0)} ms`;
  const said = read === "?" ? verdict : `${read}, ${verdict}`;
  // Another may have been chosen since this was asked.
  const wanted = other && other.model.name === $("other").value;
  speak(wanted ? `${said}. ${showOther(other)}` : said);
}

function showOther(answer) {
  const [read, verdict] = words(answer);
  $("other-digit").textContent = read;
  $("other-verdict").textContent = verdict;
  bars(1, answer.probabilities);
  paintFrame("other-seen", "other-size", answer.frame);
  return `${answer.model.name}: ${read}, ${verdict}`;
}

// To who does not see the page: when the pen rests, not while it moves.
let speaking = 0;
function speak(words) {
  clearTimeout(speaking);
  speaking = setTimeout(() => ($("spoken").textContent = words), 700);
}

function showNothing(sentence) {
  $("digit").textContent = "?";
  $("verdict").textContent = sentence;
  speak(sentence);
  $("latency").textContent = "";
  bars(0, classes.map(() => 0));
  wipe("seen");
  showNothingOfOther();
}

function showNothingOfOther() {
  $("other-digit").textContent = "?";
  $("other-verdict").textContent = "";
  bars(1, classes.map(() => 0));
  wipe("other-seen");
}

function wipe(canvas) {
  $(canvas).getContext("2d").clearRect(0, 0, $(canvas).width, $(canvas).height);
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

// Of the selected model (0) or of the other one (1); each has its own best marked.
function bars(which, probabilities) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  [...$("bars").rows].forEach((row, index) => {
    const share = probabilities[index];
    const marked = index === best && share > 0;
    const shown = row.querySelectorAll(".share")[which];
    if (which === 0) row.cells[0].classList.toggle("best", marked);
    shown.classList.toggle("best", marked);
    row.querySelectorAll("progress")[which].value = share;
    shown.textContent = percent(share);
  });
}

function makeBars() {
  $("bars").replaceChildren();
  for (const name of classes) {
    const row = $("bars").insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    for (const which of [0, 1]) {
      const bar = document.createElement("progress");
      bar.setAttribute("aria-label", `probability of ${name}${which ? ", other model" : ""}`);
      const cells = [row.insertCell(), row.insertCell()];
      cells[0].append(bar);
      cells[1].className = "share";
      if (which) cells.forEach((cell) => cell.classList.add("second"));
    }
  }
}

// The frame is base64 of one byte a pixel, 0 = paper, 255 = ink; shown light on dark, as MNIST is.
function paintFrame(canvas, size, frame) {
  const bytes = Uint8Array.from(atob(frame), (letter) => letter.charCodeAt(0));
  const seen = $(canvas);
  seen.width = seen.height = Math.sqrt(bytes.length);
  $(size).textContent = `${seen.width}×${seen.height}`;
  const image = new ImageData(seen.width, seen.height);
  bytes.forEach((ink, index) => image.data.set([ink, ink, ink, 255], 4 * index));
  seen.getContext("2d").putImageData(image, 0, 0);
}

// --- another model beside the selected one

$("other").onchange = async () => {
  const name = $("other").value;
  notice("other", "");
  showNothingOfOther();
  showSecond(false);
  if (!name) return;
  try {
    const model = await getJson(`/model?model=${encodeURIComponent(name)}`);
    if ($("other").value !== name) return; // another was chosen in the meantime
    for (const id of ["other-name", "name-1"]) $(id).textContent = name;
    $("other-accuracy").textContent = right(model.metrics) || "not evaluated";
    $("other-run").textContent = model.run_id;
  } catch (error) {
    $("other").value = "";
    return error instanceof TokenWanted ? askForToken() : notice("other", `${name} does not answer.`);
  }
  showSecond(true);
  asker.ask();
};

function showSecond(shown) {
  for (const part of document.querySelectorAll(".second")) part.hidden = !shown;
}

// --- drawing with mouse, finger or pen

const strokes = new Map(); // the stroke under each pointer that is down

function place(event) {
  const box = paper.getBoundingClientRect();
  const brush = Number($("brush").value);
  // Only pens know how hard they are pressed; others always say 0.5.
  const width = event.pointerType === "pen" ? brush * (0.5 + event.pressure) : brush;
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  return [(x / box.width) * SIDE, (y / box.height) * SIDE, width];
}

paper.addEventListener("pointerdown", (event) => {
  if (event.button > 0) return;
  cursor = null;
  paper.setPointerCapture(event.pointerId);
  const stroke = { kind: "stroke", points: [place(event)] };
  strokes.set(event.pointerId, stroke);
  drawing.add(stroke);
  changed();
});

paper.addEventListener("pointermove", (event) => {
  const stroke = strokes.get(event.pointerId);
  if (!stroke) return;
  // The places between two frames of the screen, where the browser tells them.
  const events = event.getCoalescedEvents?.() ?? [];
  stroke.points.push(...(events.length ? events : [event]).map(place));
  changed();
});

for (const ended of ["pointerup", "pointercancel"]) {
  paper.addEventListener(ended, (event) => strokes.delete(event.pointerId));
}

// --- drawing with the keyboard

const STEP = SIDE / 40;
const MOVES = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
let cursor = null; // {x, y, stroke}: where the pen is, and its stroke while it is down

function paintCursor() {
  const context = paper.getContext("2d");
  context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  context.lineWidth = 2;
  context.beginPath();
  context.arc(cursor.x, cursor.y, Number($("brush").value) / 2 + 3, 0, 2 * Math.PI);
  context.stroke();
}

paper.addEventListener("keydown", (event) => {
  const move = MOVES[event.key];
  if ((!move && event.key !== " ") || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  cursor ??= { x: SIDE / 2, y: SIDE / 4, stroke: null };
  const inside = (place) => Math.min(Math.max(place, 0), SIDE);
  if (move) [cursor.x, cursor.y] = [inside(cursor.x + move[0]), inside(cursor.y + move[1])];
  const point = [cursor.x, cursor.y, Number($("brush").value)];
  if (event.key === " ") {
    cursor.stroke = cursor.stroke ? null : { kind: "stroke", points: [point] };
    if (cursor.stroke) drawing.add(cursor.stroke);
    $("spoken").textContent = cursor.stroke ? "Pen down" : "Pen up";
  } else if (cursor.stroke) {
    cursor.stroke.points.push(point);
  }
  changed();
});

// --- buttons

function change(how) {
  return () => {
    cursor = null;
    how();
    changed();
  };
}

$("undo").onclick = change(() => drawing.undo());
$("redo").onclick = change(() => drawing.redo());
$("clear").onclick = change(() => drawing.add({ kind: "clear" }));

document.addEventListener("keydown", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  const key = event.key.toLowerCase();
  const button = key === "y" || (key === "z" && event.shiftKey) ? $("redo") : key === "z" ? $("undo") : null;
  if (!button) return;
  event.preventDefault();
  if (!button.disabled) button.click();
});

// --- images: chosen, photographed, pasted, dropped, or one of the samples

async function open(blob) {
  // What the browser cannot show may still be read by the service, and is sent as it is.
  const bitmap = await createImageBitmap(blob).catch(() => new OffscreenCanvas(1, 1));
  cursor = null;
  drawing.add({ kind: "image", blob, bitmap });
  changed();
}

for (const id of ["file", "camera"]) {
  $(id).onchange = (event) => {
    if (event.target.files.length) open(event.target.files[0]);
    event.target.value = ""; // so that the same file can be chosen again
  };
}

document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) open(file);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  paper.classList.add("dropping");
});
document.addEventListener("dragleave", () => paper.classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  paper.classList.remove("dropping");
  const [file] = event.dataTransfer.files;
  if (file) open(file);
});

function showSamples(samples) {
  for (const shelf of ["right", "wrong"]) $(shelf).replaceChildren();
  for (const { label, digit, png } of samples) {
    const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
    const button = document.createElement("button");
    const image = document.createElement("img");
    const right = label === digit;
    image.src = `data:image/png;base64,${png}`;
    image.alt = right ? `a ${label}` : "";
    button.append(image, right ? "" : `${label} read as ${digit}`);
    button.onclick = () => open(new Blob([bytes], { type: "image/png" }));
    $(right ? "right" : "wrong").append(button);
  }
  $("samples").hidden = !samples.length;
}

// --- the start

const identity = ({ run_id, version }) => `${run_id} ${version}`;
let described; // the identity of the model on show; after a restart another one may answer

async function describeModel() {
  const [model, { samples }] = await Promise.all([getJson("/model"), getJson("/samples")]);
  described = identity(model);
  if (String(classes) !== String(model.classes)) {
    classes = model.classes;
    makeBars();
    for (const which of [0, 1]) bars(which, classes.map(() => 0));
  }
  const [, ...others] = model.models;
  const chosen = $("other").value;
  $("other").replaceChildren($("other").options[0], ...others.map((name) => new Option(name, name)));
  $("other").value = others.includes(chosen) ? chosen : "";
  if (chosen) $("other").onchange();
  else showSecond(false);
  $("compare").hidden = !others.length;
  $("name-0").textContent = model.name;
  $("model").textContent = model.version ? `${model.name}, version ${model.version}` : model.name;
  if (model.released) $("model").textContent += ", released with the project; make repro makes yours";
  if (model.fallback) {
    $("model").textContent += `, learnt from ${model.dataset}, a stand-in; make repro tries again`;
  }
  $("more").hidden = model.released; // its run is in no MLflow here
  $("accuracy").textContent = right(model.metrics);
  $("run").textContent = model.run_id;
  $("commit").textContent = `git commit ${model.git_commit ?? "unknown"}`;
  $("data").textContent = `${model.dataset}, ${model.data_digest}`;
  $("tag").textContent = model.tag;
  $("lineage").textContent = `digits lineage ${model.run_id}`;
  $("lineage-data").textContent = `digits lineage ${model.data_digest?.slice(0, 19)}`;
  showSamples(samples);
}

function right({ accuracy, num_images: num }) {
  return num ? `${(100 * accuracy).toFixed(2)} % of ${num.toLocaleString("en")} right` : "";
}

async function startOnceThere() {
  try {
    await describeModel();
    notice("service", "");
  } catch (error) {
    if (error instanceof TokenWanted) return askForToken();
    const told = unavailable(error);
    notice("service", waiting(told, "Trying again …"));
    setTimeout(startOnceThere, told.retryMs);
  }
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
repaint();
startOnceThere();
