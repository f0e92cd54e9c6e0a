// The heatmap over its image, as core/explain/overlay.py draws it: the run's own scale, so that images can be compared.
import {centreSquare} from './pixels.js';

/** The image for the page, and greyed and hatched what the model did not see of it. */
export function drawImage(canvas, source, longest) {
  const share = Math.min(1, longest / Math.max(source.width, source.height));
  canvas.width = Math.max(1, Math.round(source.width * share));
  canvas.height = Math.max(1, Math.round(source.height * share));
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.imageSmoothingQuality = 'high';
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const {top, left, side} = centreSquare(canvas.height, canvas.width);
  const step = Math.max(6, Math.floor(side / 40)), line = Math.max(1, Math.floor(step / 6));
  const picture = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let row = 0; row < canvas.height; row++) {
    for (let column = 0; column < canvas.width; column++) {
      if (row >= top && row < top + side && column >= left && column < left + side) continue;
      const at = 4 * (row * canvas.width + column), levels = picture.data;
      const grey = ((levels[at] + levels[at + 1] + levels[at + 2]) / 3) * 0.35 + 255 * 0.55;
      levels.fill((row + column) % step < line ? grey - 35 : grey, at, at + 3);
    }
  }
  context.putImageData(picture, 0, 0);
}

/** The heat of one map on a canvas of its own, over that of `drawImage`; how strong it is, the page's style says. */
export function drawHeat(canvas, below, map, cells, scale, colours) {
  canvas.width = below.width;
  canvas.height = below.height;
  const {top, left, side} = centreSquare(canvas.height, canvas.width);
  const context = canvas.getContext('2d');
  const picture = context.createImageData(side, side);
  const grown = enlarged(map, cells, side);
  grown.forEach((value, place) => {
    const heat = Math.min(Math.max(value / scale, 0), 1);
    const colour = 3 * Math.round(255 * heat);
    for (let channel = 0; channel < 3; channel++) picture.data[4 * place + channel] = colours[colour + channel];
    picture.data[4 * place + 3] = Math.round(255 * Math.sqrt(heat)); // weak heat is see-through
  });
  context.putImageData(picture, left, top);
}

// between the cells by cubic curves, as OpenCV has them
function enlarged(map, cells, side) {
  const places = Array.from({length: side}, (_, target) => {
    const place = (target + 0.5) * (cells / side) - 0.5, base = Math.floor(place);
    return [-1, 0, 1, 2].map((offset) => [
      Math.min(Math.max(base + offset, 0), cells - 1), cubic(Math.abs(place - base - offset)),
    ]);
  });
  const wide = new Float32Array(cells * side);
  for (let row = 0; row < cells; row++) {
    places.forEach((parts, column) => {
      for (const [cell, share] of parts) wide[row * side + column] += share * map[row * cells + cell];
    });
  }
  const grown = new Float32Array(side * side);
  places.forEach((parts, row) => {
    for (const [cell, share] of parts) {
      for (let column = 0; column < side; column++) grown[row * side + column] += share * wide[cell * side + column];
    }
  });
  return grown;
}

function cubic(away) {
  const bend = -0.75;
  if (away <= 1) return ((bend + 2) * away - (bend + 3)) * away * away + 1;
  return away < 2 ? ((bend * away - 5 * bend) * away + 8 * bend) * away - 4 * bend : 0;
}
