// Images that are given to the page: chosen, photographed, pasted, dropped, or one of its samples.

import { $ } from "./dom.js";

// `open` is called with each of them, a Blob.
export function receiveImages(paper, open) {
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
}

// Test images as buttons, those that the model reads right apart from those that it does not.
export function showSamples(samples, open) {
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
  for (const shelf of ["right", "wrong"]) $(shelf).previousElementSibling.hidden = !$(shelf).children.length;
  $("samples").hidden = !samples.length;
}
