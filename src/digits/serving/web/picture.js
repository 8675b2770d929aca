// An image as the page shows it: small enough to be kept for undo, and what is drawn on it stands out.

const SIDE_PX = 560; // as large as the paper is
const DARK_ON_LIGHT = { paper: "#fff", ink: "#000" };
const LIGHT_ON_DARK = { paper: "#000", ink: "#fff" };

// {canvas, colours} of an image, a Blob; rejects one that the browser cannot show.
export async function picture(blob) {
  const bitmap = await createImageBitmap(blob);
  const scale = Math.min(1, SIDE_PX / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close(); // four bytes for each pixel of a photo
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return { canvas, colours: onDark(data) ? LIGHT_ON_DARK : DARK_ON_LIGHT };
}

// Whether the paper is dark: as the image is on average, and not as the ink is that is all there
// is of a transparent one.
function onDark(rgba) {
  let [light, opaque] = [0, 0];
  for (let i = 0; i < rgba.length; i += 4) {
    const alpha = rgba[i + 3] / 255;
    light += (alpha * (0.2126 * rgba[i] + 0.7152 * rgba[i + 1] + 0.0722 * rgba[i + 2])) / 255;
    opaque += alpha;
  }
  const dark = light < opaque / 2;
  return opaque < rgba.length / 8 ? !dark : dark;
}
