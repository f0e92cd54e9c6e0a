// The exported network in this browser, run by LiteRT.
import {loadAndCompile, loadLiteRt, Tensor} from '@litertjs/core';
import {strangenessOf} from './answer.js';
import {turned, turnedBack} from './pixels.js';

/** Load what the folder `model/` holds: {model, strangeness, run}. */
export async function loadNetwork() {
  const model = await (await fetched('model/model.json')).json();
  const packed = model.refusal && (await (await fetched('model/strangeness.bin')).arrayBuffer());
  const file = new Uint8Array(await (await fetched('model/model-float16.tflite')).arrayBuffer());
  await loadLiteRt('litert/');
  const compiled = await loadAndCompile(file, {accelerator: 'wasm'});
  const run = (levels) => answered(compiled, model, levels);
  await run(new Uint8ClampedArray(model.image_size ** 2 * 3)); // the first pass lays out memory: nobody waits for it
  return {model, strangeness: packed ? strangenessOf(model, packed) : null, run};
}

async function fetched(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response;
}

// logits and heatmaps are the means over the views that the run asks for; features are the upright image's
async function answered(compiled, model, levels) {
  let sums = null;
  for (let view = 0; view < model.views; view++) {
    const one = await pass(compiled, model, view ? turned(levels, model.image_size, view) : levels);
    const cells = Math.sqrt(one.heatmaps.length / model.classes.length);
    const maps = model.classes.map((_, index) =>
      turnedBack(one.heatmaps.subarray(index * cells * cells, (index + 1) * cells * cells), cells, view));
    sums ??= {logits: one.logits.map(() => 0), heatmaps: maps.map((map) => map.map(() => 0)), features: one.features, cells};
    one.logits.forEach((logit, index) => (sums.logits[index] += logit / model.views));
    maps.forEach((map, index) => map.forEach((value, place) => (sums.heatmaps[index][place] += value / model.views)));
  }
  return sums;
}

async function pass(compiled, model, levels) {
  const pixels = new Tensor(Float32Array.from(levels), [1, model.image_size, model.image_size, 3]);
  const outputs = await compiled.run({pixels});
  pixels.delete();
  const numbers = {};
  for (const [name, tensor] of Object.entries(outputs)) {
    numbers[name] = Float32Array.from(await tensor.data());
    tensor.delete();
  }
  return numbers;
}
