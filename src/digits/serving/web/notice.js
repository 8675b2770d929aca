// What is wrong, by what it is about: each is said until it is over, whatever comes of the others.
// Where it is said stays on the page, empty: screen readers say only what changes in it.

import { $ } from "./dom.js";

const wrong = { token: "", service: "", other: "", drawing: "", camera: "" };

export function notice(about, text) {
  wrong[about] = text;
  const said = Object.values(wrong).filter(Boolean).join(" ");
  if ($("notice").textContent === said) return; // it would be read out again
  $("notice").textContent = said;
}
