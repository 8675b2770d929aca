// What was read, as the page shows and says it: digit, verdict, bars, and the frame a model sees.

import { $ } from "./dom.js";

const REASONS = {
  blank: "No ink found",
  several: "Several digits, read one by one",
  too_small: "Too small to tell: go nearer, or draw it larger",
  unsure: "Not sure",
  unlike_a_digit: "That does not look like a digit",
};

// Beyond this it is not between two digits that the model hesitates.
const UNUSUAL = 0.9;

// What was read, to be seen from afar, and how sure that is.
function words(answer) {
  const sure = answer.confidence < 0.9995 ? `${percent(answer.confidence)} sure` : "over 99.9 % sure";
  const unusual = answer.reason === "unsure" && answer.confidence > UNUSUAL;
  const doubt = unusual ? `Not sure: an unusual ${answer.digit}` : REASONS[answer.reason];
  const verdict = answer.accepted ? sure : (doubt ?? answer.reason);
  const row = answer.row.map((part) => (part.accepted ? part.digit : `${part.digit}?`)).join("");
  const doubtful = answer.reason === "unsure" ? `${answer.digit}?` : "?";
  return [answer.accepted ? `${answer.digit}` : row || doubtful, verdict];
}

export function show(answer, other) {
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
  // Not what it said of another drawing.
  if (answer.error) {
    showNothingOfOther("does not answer");
    return `${answer.model.name} does not answer`;
  }
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

export function showNothing(sentence) {
  $("digit").textContent = "?";
  $("verdict").textContent = sentence;
  speak(sentence);
  $("latency").textContent = "";
  emptyBars(0);
  wipe("seen");
  showNothingOfOther();
}

export function showNothingOfOther(sentence = "") {
  $("other-digit").textContent = "?";
  $("other-verdict").textContent = sentence;
  emptyBars(1);
  wipe("other-seen");
}

function wipe(canvas) {
  $(canvas).getContext("2d").clearRect(0, 0, $(canvas).width, $(canvas).height);
}

// Nobody is ever 100.0 % sure.
const percent = (share) => (share < 0.9995 ? `${(100 * share).toFixed(1)} %` : ">99.9 %");

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

export function makeBars(classes) {
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
  for (const which of [0, 1]) emptyBars(which);
}

function emptyBars(which) {
  bars(which, [...$("bars").rows].map(() => 0));
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
