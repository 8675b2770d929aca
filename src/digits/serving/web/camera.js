// The camera of a computer. A phone opens its own from the file field; there it would choose files.

import { $ } from "./dom.js";
import { notice } from "./notice.js";

const REASONS = {
  NotAllowedError: "The camera may not be used: allow it in the browser's settings of this page.",
  NotFoundError: "There is no camera.",
  NotReadableError: "Another program uses the camera.",
};

// `open` is called with each photo that is taken, a Blob.
export function offerCamera(open) {
  if (matchMedia("(pointer: coarse)").matches) return;
  $("photo").hidden = true;
  const cameras = navigator.mediaDevices; // none where the page came over http from another machine
  if (!cameras?.getUserMedia) return;
  const [finder, view, look, take] = ["finder", "view", "look", "take"].map($);
  look.hidden = false;

  let asking = false; // the browser's question is open: a second stream would never be stopped
  look.onclick = async () => {
    if (asking) return;
    asking = true;
    notice("camera", "");
    try {
      view.srcObject = await cameras.getUserMedia({ video: { width: { ideal: 1280 } } });
      take.disabled = true; // until there is something to be seen
      finder.showModal();
    } catch (error) {
      notice("camera", REASONS[error.name] ?? "The camera cannot be used.");
    } finally {
      asking = false;
    }
  };
  view.onplaying = () => {
    take.disabled = false;
    take.focus();
  };
  take.onclick = () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [view.videoWidth, view.videoHeight];
    canvas.getContext("2d").drawImage(view, 0, 0);
    finder.close();
    canvas.toBlob(open, "image/jpeg", 0.9);
  };
  $("leave").onclick = () => finder.close();
  // However it was closed; Escape closes it, too.
  finder.onclose = () => {
    for (const track of view.srcObject.getTracks()) track.stop();
    view.srcObject = null;
  };
}
