// A drawing: what was done to it, one action after the other, so that each can be undone.
//
// Places are in paper units: the paper is SIDE wide and high, whatever its size on the screen.

export const SIDE = 280;
// What is drawn is sent dark on light, in whatever colours the page is.
const SENT = { paper: "#fff", ink: "#000" };

export class Drawing {
  constructor() {
    this.done = [];
    this.undone = [];
  }

  // An action is {kind: "stroke", points: [[x, y, width], ...]},
  // {kind: "image", blob, picture} or {kind: "clear"}; the last two hide what was before.
  // The picture (picture.js) is null until it is there, and where the browser cannot show it.
  add(action) {
    this.done.push(action);
    this.undone = [];
  }

  undo() {
    if (this.done.length) this.undone.push(this.done.pop());
  }

  redo() {
    if (this.undone.length) this.done.push(this.undone.pop());
  }

  // The actions that can be seen.
  get shown() {
    const last = this.done.findLastIndex((action) => action.kind !== "stroke");
    const first = last >= 0 && this.done[last].kind === "image" ? last : last + 1;
    return this.done.slice(first);
  }

  get empty() {
    return this.shown.length === 0;
  }

  // Whether what is shown cannot be drawn on: a stroke is sent with what is under it.
  get sealed() {
    return this.shown[0]?.picture === null;
  }

  // What is sent to be read: the file itself where nothing was drawn on it, a PNG otherwise.
  async toBlob() {
    const [first, ...rest] = this.shown;
    if (first.kind === "image" && !rest.length) return first.blob;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SIDE;
    this.paint(canvas, SENT);
    return new Promise((resolve) => canvas.toBlob(resolve));
  }

  // In these colours; on an image in those that stand out from it, here and in what is sent.
  paint(canvas, colours) {
    const context = canvas.getContext("2d");
    const { paper, ink } = this.shown[0]?.picture?.colours ?? colours;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.scale(canvas.width / SIDE, canvas.height / SIDE);
    context.strokeStyle = context.fillStyle = ink;
    context.lineCap = context.lineJoin = "round";
    for (const action of this.shown) {
      if (action.kind === "stroke") paintStroke(context, action.points);
      else if (action.picture) paintImage(context, action.picture.canvas);
    }
  }
}

function paintImage(context, image) {
  const scale = SIDE / Math.max(image.width, image.height);
  const [width, height] = [image.width * scale, image.height * scale];
  context.imageSmoothingEnabled = scale < 1;
  context.drawImage(image, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
}

// Curves through the middles between points: smooth, and never off the line that was drawn.
function paintStroke(context, points) {
  const [x, y, width] = points[0];
  context.beginPath();
  context.arc(x, y, width / 2, 0, 2 * Math.PI);
  context.fill();
  let from = [x, y];
  for (let i = 1; i < points.length; i++) {
    const [px, py, pwidth] = points[i];
    const last = i === points.length - 1;
    const to = last ? [px, py] : [(px + points[i + 1][0]) / 2, (py + points[i + 1][1]) / 2];
    context.beginPath();
    context.lineWidth = pwidth;
    context.moveTo(...from);
    context.quadraticCurveTo(px, py, ...to);
    context.stroke();
    from = to;
  }
}
