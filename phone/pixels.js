// An image file to the model's input: the same centre square and the same resizing as core/data/images.py, so that
// the phone gives the same figures.

export const SHOWN = 1024; // pixels: the longer side of what the page draws
const LARGEST = 4096; // pixels: a canvas of some phones holds no more; a larger photograph is shrunk by the browser

/** The picture in a file, upright, on white, in sRGB: a canvas. Throws when the browser cannot read it. */
export async function readImage(file) {
  const bitmap = await createImageBitmap(file, {imageOrientation: 'from-image'});
  const share = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(bitmap.width * share));
  canvas.height = Math.max(1, Math.round(bitmap.height * share));
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas;
}

/** The largest centred square: {top, left, side}. */
export function centreSquare(height, width) {
  const side = Math.min(height, width);
  return {top: (height - side) >> 1, left: (width - side) >> 1, side};
}

/** The model's input of a canvas: size * size * 3 levels, 0 to 255. */
export function modelInput(canvas, size) {
  const {top, left, side} = centreSquare(canvas.height, canvas.width);
  const square = canvas.getContext('2d').getImageData(left, top, side, side).data;
  return resized(square, side, size);
}

/** RGBA levels of a square to RGB of another size, as OpenCV does it: areas when shrinking, else between neighbours. */
export function resized(square, side, size) {
  if (side === size) return withoutAlpha(square);
  if (side === 2 * size) return halved(square, side, size);
  return side > size ? byArea(square, side, size) : byNeighbours(square, side, size);
}

function withoutAlpha(square) {
  const levels = new Uint8ClampedArray((square.length / 4) * 3);
  for (let from = 0, to = 0; from < square.length; from += 4) {
    for (let channel = 0; channel < 3; channel++) levels[to++] = square[from + channel];
  }
  return levels;
}

// OpenCV adds whole numbers here and rounds a half up; elsewhere it rounds to the even number
function halved(square, side, size) {
  const levels = new Uint8ClampedArray(size * size * 3);
  for (let row = 0, to = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const at = 4 * (2 * row * side + 2 * column), below = at + 4 * side;
      for (let channel = 0; channel < 3; channel++) {
        const sum = square[at + channel] + square[at + 4 + channel] + square[below + channel] + square[below + 4 + channel];
        levels[to++] = (sum + 2) >> 2;
      }
    }
  }
  return levels;
}

function byArea(square, side, size) {
  const spans = areas(side, size);
  const sums = new Float64Array(size * 3);
  const row = new Float64Array(size * 3);
  const levels = new Uint8ClampedArray(size * size * 3);
  spans.forEach((down, target) => {
    sums.fill(0);
    for (const [source, share] of down) {
      row.fill(0);
      const start = source * side * 4;
      spans.forEach((across, column) => {
        for (const [place, part] of across) {
          const at = start + place * 4;
          for (let channel = 0; channel < 3; channel++) row[column * 3 + channel] += part * square[at + channel];
        }
      });
      for (let place = 0; place < row.length; place++) sums[place] += share * row[place];
    }
    for (let place = 0; place < sums.length; place++) levels[target * sums.length + place] = sums[place]; // to even
  });
  return levels;
}

// of each target pixel: the source pixels below it, and how much of it each covers
function areas(side, size) {
  const scale = side / size;
  return Array.from({length: size}, (_, target) => {
    const start = target * scale, end = start + scale;
    const width = Math.min(scale, side - start);
    const last = Math.min(Math.floor(end), side - 1);
    const first = Math.min(Math.ceil(start), last);
    const parts = [];
    if (first - start > 1e-3) parts.push([first - 1, Math.fround((first - start) / width)]);
    for (let source = first; source < last; source++) parts.push([source, Math.fround(1 / width)]);
    if (end - last > 1e-3) parts.push([last, Math.fround(Math.min(end - last, 1, width) / width)]);
    return parts;
  });
}

function byNeighbours(square, side, size) {
  const places = neighbours(side, size);
  const levels = new Uint8ClampedArray(size * size * 3);
  const across = (source, [one, other, left, right], channel) =>
    square[(source * side + one) * 4 + channel] * left + square[(source * side + other) * 4 + channel] * right;
  for (let row = 0, to = 0; row < size; row++) {
    const [above, below, upper, lower] = places[row];
    for (let column = 0; column < size; column++) {
      for (let channel = 0; channel < 3; channel++, to++) {
        const first = (upper * (across(above, places[column], channel) >> 4)) >> 16;
        const second = (lower * (across(below, places[column], channel) >> 4)) >> 16;
        levels[to] = (first + second + 2) >> 2;
      }
    }
  }
  return levels;
}

// of each target pixel: two source pixels, and their shares in 2048ths
function neighbours(side, size) {
  return Array.from({length: size}, (_, target) => {
    let place = Math.fround((target + 0.5) * (side / size) - 0.5);
    let one = Math.floor(place);
    place -= one;
    if (one < 0) [one, place] = [0, 0];
    if (one >= side - 1) [one, place] = [side - 1, 0];
    return [one, Math.min(one + 1, side - 1), even((1 - place) * 2048), even(place * 2048)];
  });
}

function even(value) {
  const low = Math.floor(value), rest = value - low;
  return rest > 0.5 || (rest === 0.5 && low % 2) ? low + 1 : low;
}

/** One of the eight exact turns of a square, see `turned` in core/data/augment.py. */
export function turned(levels, size, view) {
  const laid = new Uint8ClampedArray(levels.length);
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const from = origin(row, column, size, view);
      for (let channel = 0; channel < 3; channel++) laid[(row * size + column) * 3 + channel] = levels[from * 3 + channel];
    }
  }
  return laid;
}

/** Undo `turned` for a map of size * size numbers. */
export function turnedBack(map, size, view) {
  const upright = new Float32Array(map.length);
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) upright[origin(row, column, size, view)] = map[row * size + column];
  }
  return upright;
}

// where the turned square's place lies in the upright one
function origin(row, column, size, view) {
  for (let turn = 0; turn < view % 4; turn++) [row, column] = [column, size - 1 - row];
  return row * size + (view % 8 < 4 ? column : size - 1 - column);
}

/** What leaves nothing to assess, or little: codes of core/data/quality.py. Sharpness and light are not measured here. */
export function problems(levels, shorterSide) {
  if (shorterSide < 32) return {severe: ['too_small'], minor: []};
  let greys = [];
  for (let at = 0; at < levels.length; at += 3) greys.push(0.299 * levels[at] + 0.587 * levels[at + 1] + 0.114 * levels[at + 2]);
  const lit = greys.filter((grey) => grey >= 28); // without the instrument's dark rim
  if (lit.length) greys = lit;
  greys.sort((one, other) => one - other);
  const mean = greys.reduce((sum, grey) => sum + grey, 0) / greys.length;
  const spread = Math.sqrt(greys.reduce((sum, grey) => sum + (grey - mean) ** 2, 0) / greys.length);
  if (greys[greys.length >> 1] < 12) return {severe: ['black'], minor: []};
  if (spread < 2) return {severe: ['empty'], minor: []};
  return {severe: [], minor: shorterSide < 100 ? ['few_pixels'] : []};
}
