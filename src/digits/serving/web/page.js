// The page: pen and buttons change the drawing, each change is asked about, answers are shown.

import { makeBars, show, showNothing, showNothingOfOther } from "./answers.js";
import { offerCamera } from "./camera.js";
import { $ } from "./dom.js";
import { Drawing } from "./drawing.js";
import { Hand } from "./hand.js";
import { receiveImages, showSamples } from "./images.js";
import { askForToken, receiveToken } from "./login.js";
import { notice } from "./notice.js";
import { picture } from "./picture.js";
import { Asker, getJson, TokenWanted, unavailable } from "./service.js";

const paper = $("paper");
const drawing = new Drawing();
const hand = new Hand(paper, drawing, changed);
const current = () => (drawing.empty ? null : drawing.toBlob());
const asker = new Asker(current, () => $("other").value, tell);
let classes = [];
let unread = false; // the service can read the image no more than the browser can show it

// --- the drawing

const UNSHOWN = "Your browser cannot show this image. It is read as it is; clear the paper to draw.";

function repaint() {
  const style = getComputedStyle(document.documentElement);
  const colours = { paper: style.getPropertyValue("--paper"), ink: style.getPropertyValue("--ink") };
  drawing.paint(paper, colours);
  hand.paintCursor();
  enable("undo", drawing.done.length);
  enable("redo", drawing.undone.length);
  enable("clear", !drawing.empty);
  sayIfUnshown();
}

function sayIfUnshown() {
  notice("drawing", drawing.shown[0]?.unshown && !unread ? UNSHOWN : "");
}

function enable(id, possible) {
  if (!possible && document.activeElement === $(id)) paper.focus(); // who uses the keyboard goes on there
  $(id).disabled = !possible;
}

function changed() {
  unread = false;
  repaint();
  for (const about of ["other", "camera"]) notice(about, "");
  asker.ask();
}

// --- what the service says

const TOO_SLOW =
  "Sending this image takes too long. It is sent again when you change something; a smaller one may do.";

async function tell({ answer, other, refused, tokenWanted, away, busy, blank, sending, tooSlow }) {
  if (tokenWanted) return askForToken(tokenWanted);
  if (sending) return showNothing("Sending the image …");
  const kept = "Your drawing is kept; trying again …";
  unread = Boolean(refused);
  sayIfUnshown();
  notice("service", tooSlow ? TOO_SLOW : waiting({ away, busy }, kept));
  // Where it cannot be had now, the next answer asks for it.
  if (answer && identity(answer.model) !== described) await describeModel().catch(() => {});
  if (answer) show(answer, other);
  else if (refused) showNothing(refused);
  else if (blank) showNothing("Nothing drawn yet");
  else if (tooSlow || away || busy) showNothing("Not read");
}

function waiting({ away, busy }, then) {
  return away ? `The service does not answer. ${then}` : busy ? `The service is busy. ${then}` : "";
}

receiveToken(() => (classes.length ? asker.ask() : startOnceThere()));

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
    $("other-accuracy").textContent = right(model) || "not evaluated";
    $("other-run").textContent = model.run_id;
  } catch (error) {
    $("other").value = "";
    return error instanceof TokenWanted ? askForToken(error) : notice("other", `${name} does not answer.`);
  }
  showSecond(true);
  asker.ask();
};

function showSecond(shown) {
  for (const part of document.querySelectorAll(".second")) part.hidden = !shown;
}

// --- buttons

function change(how) {
  return () => {
    hand.lift();
    how();
    changed();
  };
}

$("undo").onclick = change(() => drawing.undo());
$("redo").onclick = change(() => drawing.redo());
$("clear").onclick = change(() => drawing.add({ kind: "clear" }));

document.addEventListener("keydown", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  if (event.target.closest("form")) return; // its field has an undo of its own
  const key = event.key.toLowerCase();
  const button = key === "y" || (key === "z" && event.shiftKey) ? $("redo") : key === "z" ? $("undo") : null;
  if (!button) return;
  event.preventDefault();
  if (!button.disabled) button.click();
});

// At once, so that it keeps its place among what is done while a large photo is decoded.
function open(blob) {
  const image = { kind: "image", blob, picture: null };
  change(() => drawing.add(image))();
  picture(blob).then(
    (shown) => (image.picture = shown),
    // What the browser cannot show may still be read by the service, and is sent as it is.
    () => (image.unshown = true),
  ).then(repaint);
}

receiveImages(paper, open);
offerCamera(open);

// --- the start

const identity = ({ run_id, version }) => `${run_id} ${version}`;
let described; // the identity of the model on show; after a restart another one may answer

async function describeModel() {
  const [model, { samples }] = await Promise.all([getJson("/model"), getJson("/samples")]);
  described = identity(model);
  if (String(classes) !== String(model.classes)) {
    classes = model.classes;
    makeBars(classes);
    if (classes.some((name) => !Number.isInteger(name))) $("title").textContent = "Draw, or choose an image";
  }
  const [, ...others] = model.models;
  const chosen = $("other").value;
  $("other").replaceChildren($("other").options[0], ...others.map((name) => new Option(name, name)));
  $("other").value = others.includes(chosen) ? chosen : "";
  if (chosen) $("other").onchange();
  else showSecond(false);
  $("compare").hidden = !others.length;
  for (const id of ["own-name", "name-0"]) $(id).textContent = model.name;
  $("model").textContent = model.version ? `${model.name}, version ${model.version}` : model.name;
  if (model.released) $("model").textContent += ", released with the project; make repro makes yours";
  if (model.fallback) {
    $("model").textContent += `, learnt from ${model.dataset}, a stand-in; make repro tries again`;
  }
  $("more").hidden = model.released; // its run is in no MLflow here
  $("accuracy").textContent = right(model);
  $("run").textContent = model.run_id;
  $("commit").textContent = `git commit ${model.git_commit ?? "unknown"}`;
  $("data").textContent = `${model.dataset}, ${model.data_digest}`;
  $("tag").textContent = model.tag;
  $("lineage").textContent = `digits lineage ${model.run_id}`;
  $("lineage-data").textContent = `digits lineage ${model.data_digest?.slice(0, 19)}`;
  showSamples(samples, open);
}

function right({ dataset, metrics: { accuracy, num_images: num } }) {
  return num ? `${(100 * accuracy).toFixed(2)} % of ${num.toLocaleString("en")} right (${dataset})` : "";
}

async function startOnceThere() {
  try {
    await describeModel();
    notice("service", "");
    if (!drawing.empty) asker.ask(); // drawn while the service was away, or wanted a token
  } catch (error) {
    if (error instanceof TokenWanted) return askForToken(error);
    const told = unavailable(error);
    notice("service", waiting(told, "Trying again …"));
    setTimeout(startOnceThere, told.retryMs);
  }
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
repaint();
startOnceThere();
