// Drawing by hand: with mouse, finger or pen, or with the keys.

import { $ } from "./dom.js";
import { SIDE } from "./drawing.js";

const STEP = SIDE / 40;
const MOVES = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

// What is drawn on `paper` is added to `drawing`, if that can be drawn on, and `changed()` is called.
export class Hand {
  constructor(paper, drawing, changed) {
    this.paper = paper;
    this.drawing = drawing;
    this.changed = changed;
    this.strokes = new Map(); // the stroke under each pointer that is down
    this.cursor = null; // {x, y, stroke}: where the keys' pen is, and its stroke while it is down
    paper.addEventListener("pointerdown", (event) => this.#down(event));
    paper.addEventListener("pointermove", (event) => this.#move(event));
    for (const ended of ["pointerup", "pointercancel"]) {
      paper.addEventListener(ended, (event) => this.strokes.delete(event.pointerId));
    }
    paper.addEventListener("keydown", (event) => this.#key(event));
  }

  // Something else was done: it ends the strokes, and the keys' pen is gone until they are used
  // again.
  lift() {
    this.strokes.clear();
    this.cursor = null;
  }

  paintCursor() {
    if (!this.cursor) return;
    const context = this.paper.getContext("2d");
    context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
    context.lineWidth = 2;
    context.beginPath();
    context.arc(this.cursor.x, this.cursor.y, brush() / 2 + 3, 0, 2 * Math.PI);
    context.stroke();
  }

  #down(event) {
    if (event.button > 0 || this.drawing.sealed) return;
    this.cursor = null; // the strokes of other fingers go on
    this.paper.setPointerCapture(event.pointerId);
    const stroke = { kind: "stroke", points: [this.#place(event)] };
    this.strokes.set(event.pointerId, stroke);
    this.drawing.add(stroke);
    this.changed();
  }

  #move(event) {
    const stroke = this.strokes.get(event.pointerId);
    if (!stroke) return;
    // The places between two frames of the screen, where the browser tells them.
    const events = event.getCoalescedEvents?.() ?? [];
    stroke.points.push(...(events.length ? events : [event]).map((one) => this.#place(one)));
    this.changed();
  }

  #place(event) {
    const box = this.paper.getBoundingClientRect();
    // Only pens know how hard they are pressed; others always say 0.5.
    const width = event.pointerType === "pen" ? brush() * (0.5 + event.pressure) : brush();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    return [(x / box.width) * SIDE, (y / box.height) * SIDE, width];
  }

  #key(event) {
    const move = MOVES[event.key];
    if ((!move && event.key !== " ") || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.cursor ??= { x: SIDE / 2, y: SIDE / 4, stroke: null };
    const cursor = this.cursor;
    const inside = (place) => Math.min(Math.max(place, 0), SIDE);
    if (move) [cursor.x, cursor.y] = [inside(cursor.x + move[0]), inside(cursor.y + move[1])];
    const point = [cursor.x, cursor.y, brush()];
    if (event.key === " " && !this.drawing.sealed) {
      cursor.stroke = cursor.stroke ? null : { kind: "stroke", points: [point] };
      if (cursor.stroke) this.drawing.add(cursor.stroke);
      $("spoken").textContent = cursor.stroke ? "Pen down" : "Pen up";
    } else if (cursor.stroke) {
      cursor.stroke.points.push(point);
    }
    this.changed();
  }
}

const brush = () => Number($("brush").value);
