// The caption as it is spoken, word by word; a word that is pointed at shows where it looked.

import { by, make, percent, tell } from "./dom.js";
import { draw } from "./boxes.js";
import * as heat from "./heat.js";
import { still } from "./live.js";

/** A caption is spoken within so long, however many words it has. */
const SPOKEN_MS = 900;
/** Between two words, at most. */
const WORD_MS = 110;
/** For so long it then stays, to be read. */
const READ_MS = 900;
/** People who listen to the page are told of a caption at most so often. */
const ALOUD_MS = 5000;
/** Thousandths of a word's attention from which on a concept is told, and how many are. */
const WORTH_TELLING = 50;
const MOST_CONCEPTS = 3;
const HINT = "Point at a word, or tap it, to see where it looked.";

const line = by("caption");
const hint = by("hint");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** What is shown, each with a copy of the picture. */
let shown = null;
let newest = null;
/** What came while the one before it was spoken, read or looked at. */
let waiting = null;
let speaking = null;
/** The word that is looked at, and whether it stays so until it is let go. */
let looked = null;
let pinned = false;
let aloud = { at: 0, timer: null };

/** A caption came. */
export function say(event) {
  newest = event;
  show({ ...event, still: still() });
}

function show(event) {
  if (looked !== null || speaking !== null) {
    waiting = event;
    return;
  }
  const same = shown !== null && shown.caption === event.caption;
  shown = event;
  familiarity(event);
  if (same) {
    sureness();
    return;
  }
  write();
  tellAloud(event.caption);
}

/** What the device said last, whether it is shown already or not. */
export const said = () => newest;

function write() {
  line.replaceChildren(...shown.words.flatMap((word, place) => [place ? " " : "", button(word, place)]));
  sureness();
  const words = calm.matches ? [] : [...line.children];
  for (const word of words) word.classList.add("unsaid");
  const every = Math.min(WORD_MS, SPOKEN_MS / words.length);
  const next = () => {
    words.shift()?.classList.remove("unsaid");
    speaking = words.length ? setTimeout(next, every) : setTimeout(rested, READ_MS);
  };
  next();
}

function rested() {
  speaking = null;
  catchUp();
}

function button({ word }, place) {
  return make("button", {
    type: "button",
    className: "word",
    textContent: word,
    onpointerenter: (event) => event.pointerType === "mouse" && !pinned && look(place),
    onpointerleave: (event) => event.pointerType === "mouse" && !pinned && letGo(),
    onfocus: (event) => event.target.matches(":focus-visible") && !pinned && look(place),
    onblur: () => !pinned && letGo(),
    onclick: () => toggle(place),
  });
}

function sureness() {
  [...line.children].forEach((word, place) => {
    word.style.setProperty("--sure", shown.words[place].probability.toFixed(3));
  });
}

function toggle(place) {
  const same = pinned && looked === place;
  pinned = !same;
  if (same) letGo();
  else look(place);
}

function look(place) {
  if (!shown?.attention?.[place]) return;
  looked = place;
  [...line.children].forEach((word, other) => word.setAttribute("aria-pressed", String(other === place)));
  const concepts = told(place);
  const canvas = heat.show(shown.attention[place], shown.still);
  draw(canvas, (shown.boxes ?? []).filter((box) => concepts.some(({ word }) => word === box.word)));
  const { word, probability } = shown.words[place];
  hint.replaceChildren(make("strong", {}, word), ` — ${percent(probability)} sure. Bright is where it looked.${listed(concepts)}`);
  by("held").hidden = false;
}

/** Which concepts a word looked at most. */
function told(place) {
  const weights = shown.concept_attention?.[place] ?? [];
  return weights
    .map((weight, concept) => ({ weight, word: shown.concepts[concept].word }))
    .filter(({ weight }) => weight >= WORTH_TELLING)
    .sort((a, b) => b.weight - a.weight)
    .slice(0, MOST_CONCEPTS);
}

function listed(concepts) {
  const each = concepts.map(({ weight, word }) => `${word} (${percent(weight / 1000)})`);
  return each.length ? ` It went by ${each.join(", ")}.` : "";
}

function letGo() {
  if (looked === null) return;
  looked = null;
  pinned = false;
  for (const word of line.children) word.removeAttribute("aria-pressed");
  heat.hide();
  tell(hint, HINT);
  by("held").hidden = true;
  catchUp();
}

function catchUp() {
  const next = waiting;
  waiting = null;
  if (next) show(next);
}

function familiarity({ familiarity: share }) {
  const known = share !== null && share !== undefined;
  tell(by("familiarity"), known ? `${percent(share)} like what it was taught` : "");
}

function tellAloud(text) {
  clearTimeout(aloud.timer);
  const wait = Math.max(0, aloud.at + ALOUD_MS - Date.now());
  aloud.timer = setTimeout(() => {
    aloud.at = Date.now();
    by("spoken").textContent = text;
  }, wait);
}

tell(hint, HINT);
document.addEventListener("keydown", (event) => event.key === "Escape" && letGo());
document.addEventListener("pointerdown", (event) => pinned && !event.target.closest(".word") && letGo());
