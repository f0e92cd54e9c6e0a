// Logits, heatmaps and features to what is said of an image: the arithmetic of core/evaluation and core/prediction.py.

/** What the model says: probabilities in the order of the classes, the answer, the set, the points, the refusal. */
export function answer(model, strangeness, {logits, heatmaps, features}, found) {
  const probabilities = calibrated(model, logits);
  const strange = strangeness ? strangeness(features) : null;
  const refused = strange !== null && strange > model.refusal.threshold;
  return {
    probabilities,
    heatmaps,
    code: model.classes[largest(logits)],
    mostProbable: model.classes[largest(probabilities)],
    ranked: model.classes.map((code, index) => [code, probabilities[index]]).sort((one, other) => other[1] - one[1]),
    set: predictionSet(model, probabilities),
    points: model.operating_points.map((point) => {
      const share = point.positives.reduce((sum, code) => sum + probabilities[model.classes.indexOf(code)], 0);
      return {...point, probability: share, flagged: share >= point.threshold};
    }),
    strangeness: strange,
    refusals: [...(refused ? ['not_dermatoscopy'] : []), ...found.severe],
    warnings: found.minor,
  };
}

function largest(numbers) {
  return numbers.reduce((best, number, index) => (number > numbers[best] ? index : best), 0);
}

function calibrated(model, logits) {
  const scores = Array.from(logits, (logit, index) => logit / model.temperature - model.offsets[index]);
  const highest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - highest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

const FEWEST = 20; // calibration images without which nothing is promised for a diagnosis

function predictionSet(model, probabilities) {
  const {level, scores} = model.prediction_sets;
  if (level === null || scores === null) return null;
  const of = (code) => scores[code] ?? [];
  const codes = model.classes.filter((code, index) => {
    const known = of(code);
    const atLeast = known.filter((score) => score >= 1 - probabilities[index]).length;
    return !known.length || (atLeast + 1) / (known.length + 1) > 1 - level + 1e-12;
  });
  return {codes, level, unpromised: model.classes.filter((code) => of(code).length < FEWEST)};
}

/** The out-of-distribution score of core/evaluation/outliers.py: features -> a number, higher is stranger. */
export function strangenessOf(model, buffer) {
  const {features: k, directions: d, variances, rest, middle, reach} = model.refusal;
  const numbers = new Float32Array(buffer);
  const [mean, spread, plane] = [0, 1, 2].map((part) => numbers.subarray(part * k, (part + 1) * k));
  const directions = numbers.subarray(3 * k);
  return (features) => {
    const along = new Float64Array(d);
    let whole = 0, side = 0;
    for (let index = 0; index < k; index++) {
      const tamed = Math.sign(features[index]) * Math.sqrt(Math.abs(features[index]));
      const centred = (tamed - mean[index]) / spread[index];
      whole += centred * centred;
      side += centred * plane[index];
      for (let direction = 0; direction < d; direction++) along[direction] += centred * directions[index * d + direction];
    }
    let inside = 0, distance = 0;
    along.forEach((value, direction) => {
      inside += value * value;
      distance += (value * value) / variances[direction];
    });
    distance += Math.max(whole - inside, 0) / rest;
    return (Math.log(distance + 1e-9) - middle[0]) / reach[0] + (side - middle[1]) / reach[1];
  };
}
