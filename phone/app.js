// The page: an image in, the answer in words, bars and a heatmap out. All of it on the phone.
import {answer} from './answer.js';
import {drawHeat, drawImage} from './heat.js';
import {loadNetwork} from './network.js';
import {centreSquare, modelInput, problems, readImage, SHOWN} from './pixels.js';

const KEPT = 'dermlens-language';
const by = (id) => document.getElementById(id);
const state = {page: null, language: 'en', network: null, loading: 'phone_loading', shown: null, busy: false, problem: [], chosen: '', insisted: false, answers: 0};
globalThis.dermlens = state; // for tests and for whoever looks into the page

// ---- words ----------------------------------------------------------------------------------------

function say(key, values = {}) {
  return state.page.texts[state.language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

const rightToLeft = () => state.page.right_to_left.includes(state.language);
const comma = () => ['de', 'es', 'fr'].includes(state.language);
const name = (code) => say(`name_${code}`);
const listed = (codes) => codes.map(name).join({zh: '、', ar: '، '}[state.language] ?? ', ');
const diagnosis = (code) => state.page.diagnoses.find((one) => one.code === code);
const kind = (code) => (diagnosis(code).malignant ? `▲ ${say(`kind_${code}`)}` : say('benign'));

// never a certainty that the figures do not hold
function percent(share, digits = 1) {
  const shown = share < 0.001 ? '<0.1' : share > 0.999 ? '>99.9' : (100 * share).toFixed(digits);
  if (comma()) return `${shown.replace('.', ',')}\u00a0%`;
  return rightToLeft() ? `\u2066${shown}%\u2069` : `${shown}%`;
}

function ofTen(share) {
  const shown = share === null ? '–' : (10 * share).toFixed(1);
  return comma() ? shown.replace('.', ',') : shown;
}

// ---- pieces ---------------------------------------------------------------------------------------

function piece(tag, settings = {}, ...inside) {
  const made = Object.assign(document.createElement(tag), settings);
  made.append(...inside.filter((one) => one !== null && one !== ''));
  return made;
}

function malignantOr(code, style) {
  return piece('span', {className: `${style} ${diagnosis(code).malignant ? 'malignant' : ''}`, textContent: kind(code)});
}

function headline(said) {
  const share = said.probabilities[state.network.model.classes.indexOf(said.code)];
  const [first, most] = said.ranked[0];
  const remark = first !== said.code ? say('more_probable', {name: name(first), share: percent(most)}) : share < 0.5 ? say('unsure') : '';
  return [
    piece('p', {className: 'eyebrow', textContent: say('speaks_for')}),
    piece('p', {className: 'diagnosis', textContent: name(said.code)}),
    piece('p', {className: 'share'}, piece('strong', {}, piece('bdi', {textContent: percent(share)})), ` ${say('confidence')} `, malignantOr(said.code, 'kind')),
    remark && piece('p', {className: 'set', textContent: remark}),
  ];
}

function points(said) {
  const items = said.points.map((point) => {
    const what = say(`point_${point.name}`);
    const sentence = say(point.flagged ? 'flagged' : 'not_flagged', {what, share: percent(point.probability), threshold: percent(point.threshold)});
    const worth = point.sensitivity === null
      ? say('found_target', {found: ofTen(point.target_sensitivity)})
      : say('found_measured', {found: ofTen(point.sensitivity), flagged: ofTen(point.specificity === null ? null : 1 - point.specificity)});
    return piece('li', {className: point.flagged ? 'flagged' : ''},
      piece('strong', {textContent: `${point.flagged ? '▲' : '○'} ${sentence} `}), piece('span', {className: 'fine', textContent: worth}));
  });
  return items.length ? piece('ul', {className: 'points'}, ...items) : null;
}

function predictionSet(said) {
  if (!said.set) return null;
  const {codes, level, unpromised} = said.set;
  const key = !codes.length ? 'set_empty' : codes.length === 7 ? 'set_all' : 'set';
  const few = unpromised.length ? say('set_unpromised', {names: listed(unpromised)}) : '';
  return piece('p', {className: 'set'}, say(key, {names: listed(codes), level: percent(level, 0)}), few && piece('span', {className: 'fine', textContent: ` ${few}`}));
}

function bars(said) {
  const all = say('all_seven');
  const made = said.ranked.map(([code, share]) => {
    const filled = piece('span');
    filled.style.width = `${100 * share}%`;
    filled.style.background = diagnosis(code).colour;
    const bar = piece('button', {type: 'button', className: 'bar', onclick: () => choose(code)},
      piece('span', {}, `${name(code)} `, diagnosis(code).malignant ? piece('small', {className: 'malignant', textContent: kind(code)}) : null),
      piece('b', {}, piece('bdi', {textContent: percent(share)})), piece('span', {className: 'track'}, filled));
    bar.dataset.code = code;
    bar.setAttribute('aria-pressed', code === state.chosen);
    return bar;
  });
  const group = piece('div', {className: 'bars'}, ...made);
  group.setAttribute('role', 'group');
  group.setAttribute('aria-label', all);
  return [piece('p', {className: 'eyebrow'}, `${all} `, piece('span', {textContent: say('choose')})), group];
}

function warning(title, ...sentences) {
  const said = piece('div', {className: 'warning'}, title && piece('strong', {textContent: title}), sentences.join(' '));
  said.setAttribute('role', 'alert');
  return said;
}

// ---- what the page shows --------------------------------------------------------------------------

function show() {
  document.documentElement.lang = state.language;
  document.documentElement.dir = rightToLeft() ? 'rtl' : 'ltr';
  by('language').setAttribute('aria-label', say('language_label'));
  for (const one of document.querySelectorAll('[data-text]')) one.textContent = say(one.dataset.text);
  const model = state.network?.model;
  by('notices').replaceChildren(
    piece('p', {textContent: say('research_notice')}),
    ...(state.page.synthetic ? [piece('p', {className: 'drawn', textContent: say('synthetic_notice')})] : []));
  document.documentElement.style.setProperty('--notices', `${by('notices').offsetHeight}px`);
  by('provenance').textContent = model ? say('provenance', {run: `\u2068${model.run}\u2069`}) : '';
  by('state').textContent = state.loading === 'phone_broken_title' ? '' : say(state.loading);
  for (const input of [by('camera'), by('file')]) input.disabled = !model || state.busy;
  Object.assign(document.body.dataset, {state: state.loading, answers: state.answers});
  showAnswer();
  showHeat();
}

function showAnswer() {
  const said = state.shown?.said;
  const place = by('answer');
  if (state.loading === 'phone_broken_title') return place.replaceChildren(warning(say('phone_broken_title'), say('phone_broken')));
  place.setAttribute('aria-busy', state.busy);
  if (state.busy) return place.replaceChildren(piece('h2', {textContent: say('assessing_title')}));
  if (state.problem.length) return place.replaceChildren(warning(...state.problem.map((key) => say(key))));
  if (!said) {
    return place.replaceChildren(piece('h2', {textContent: say('waiting_title')}), piece('p', {className: 'fine', textContent: say('phone_waiting')}));
  }
  const reasons = said.refusals.map((code) => say(code));
  if (said.refusals.length && !state.insisted) {
    return place.replaceChildren(
      warning(say('refused_title'), ...reasons, say('refused_next')),
      piece('button', {type: 'button', id: 'insist', textContent: say('insist'), onclick: insist}),
      piece('p', {className: 'fine', textContent: say('insist_hint')}));
  }
  place.replaceChildren(...[
    said.refusals.length ? warning(say('insisted'), ...reasons) : null,
    ...headline(said),
    ...said.warnings.map((code) => warning('', say(code))),
    points(said),
    predictionSet(said),
    piece('p', {className: 'fine', textContent: say('calibrated')}),
  ].filter(Boolean));
}

function showHeat() {
  const said = state.shown?.said;
  by('heatmap').hidden = !said;
  if (by('heatmap').hidden) return;
  const open = state.chosen !== '';
  for (const one of [by('heat'), ...document.querySelectorAll('.open')]) one.hidden = !open;
  document.querySelector('.picture').setAttribute('aria-label', open ? say('heatmap_alt', {name: name(state.chosen)}) : say('image_alt'));
  if (!open) return;
  const {model} = state.network;
  const map = said.heatmaps[model.classes.indexOf(state.chosen)];
  drawHeat(by('heat'), by('image'), map, state.shown.cells, model.heatmap_scale, state.page.colours);
  const beats = model.heatmap_beats;
  const empty = Math.max(...map) / model.heatmap_scale < 0.05; // weaker heat is not seen
  by('evidence').replaceChildren(...[
    piece('p', {}, `${say('heatmap_for')} `, piece('strong', {textContent: name(state.chosen)})),
    empty ? piece('p', {className: 'fine', textContent: say('heatmap_empty')}) : null,
    piece('p', {className: 'fine', textContent: say(`sentence_${state.chosen}`)}),
    beats === null ? null : piece('p', {className: 'fine', textContent: say('heatmap_beats', {beats: ofTen(beats)})}),
  ].filter(Boolean));
  by('bars').replaceChildren(...bars(said));
}

function choose(code) {
  state.chosen = code;
  showHeat();
  document.querySelector(`.bar[data-code=${code}]`).focus({preventScroll: true}); // the bars are new ones
}

function insist() {
  state.insisted = true;
  state.chosen = state.shown.said.code;
  show();
}

// ---- an image -------------------------------------------------------------------------------------

async function assess(file) {
  Object.assign(state, {shown: null, busy: true, problem: [], chosen: '', insisted: false});
  show();
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done))); // the words are seen before the work begins
  const begun = performance.now();
  let problem = ['problem_title', 'problem_body', 'problem_next'];
  try {
    const image = await readImage(file);
    problem = ['failed_title', 'phone_failed']; // what fails from here on is not the picture's fault
    state.shown = {...await read(image), milliseconds: performance.now() - begun};
    if (!state.shown.said.refusals.length) state.chosen = state.shown.said.code;
  } catch (error) {
    console.warn(error);
    state.problem = problem;
  }
  state.busy = false;
  state.answers += 1;
  show();
  by('answer').scrollIntoView({behavior: 'smooth'});
}

async function read(image) {
  const {model, strangeness, run} = state.network;
  const levels = modelInput(image, model.image_size);
  const found = problems(levels, centreSquare(image.height, image.width).side);
  const outputs = await run(levels);
  const said = answer(model, strangeness, outputs, found);
  drawImage(by('image'), image, SHOWN);
  return {said, cells: outputs.cells, levels};
}

// ---- the start ------------------------------------------------------------------------------------

/** Whether the page is kept on the phone from now on. */
async function keepPage() {
  if (!('serviceWorker' in navigator)) return false;
  try {
    const registration = await navigator.serviceWorker.register('sw.js');
    const worker = registration.installing ?? registration.waiting ?? registration.active;
    await new Promise((done, failed) => {
      const look = () => {
        if (worker.state === 'activated') done();
        if (worker.state === 'redundant') failed(new Error('the page could not be kept')); // no room, or a file is missing
      };
      worker.addEventListener('statechange', look);
      look();
    });
    return true;
  } catch (error) {
    console.warn(error);
    return false;
  }
}

function kept() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // a browser that keeps nothing
  }
}

function keep(language) {
  try {
    localStorage.setItem(KEPT, language);
  } catch {} // it is chosen anew next time
}

function language() {
  const wished = [kept(), ...navigator.languages.map((one) => one.split('-')[0].toLowerCase())];
  return wished.find((one) => one in state.page.texts) ?? 'en';
}

async function start() {
  state.page = await (await fetch('page.json')).json();
  state.language = language();
  by('language').append(...Object.keys(state.page.texts).map((code) => piece('option', {value: code, lang: code, textContent: state.page.texts[code].language})));
  by('language').value = state.language;
  by('language').addEventListener('change', (event) => {
    state.language = event.target.value;
    keep(state.language);
    show();
  });
  by('heat').style.opacity = 0.5;
  by('opacity').addEventListener('input', (event) => (by('heat').style.opacity = event.target.value / 100));
  for (const input of [by('camera'), by('file')]) {
    input.addEventListener('change', async () => {
      const [file] = input.files;
      if (file) await assess(file);
      input.value = ''; // the same picture can be given again
    });
  }
  show();
  const offline = await keepPage(); // first: what is loaded then is kept
  try {
    state.network = await loadNetwork();
    state.loading = offline ? 'phone_ready' : 'phone_online';
  } catch (error) {
    console.error(error);
    state.loading = 'phone_broken_title';
  }
  show();
}

start().catch((error) => {
  console.error(error);
  by('state').textContent = 'This page could not be loaded. Open it once more with a network.'; // its texts are not there
});
