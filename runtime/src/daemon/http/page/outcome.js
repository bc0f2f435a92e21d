// What became of a calibration, in words.

import { loss, make } from "./dom.js";

const TITLES = {
  committed: "It learned.",
  refused: "Not kept:",
  failed: "That did not work.",
  undone: "Undone.",
};

let told = null;

/** Tells it in `place`; `force` keeps what was refused. */
export function outcome(place, { outcome: what, message, generation, last, adapting }, force) {
  place.hidden = adapting || what === null;
  const key = JSON.stringify([what, message, generation]);
  if (place.hidden) told = null;
  if (place.hidden || key === told) return;
  told = key;
  place.dataset.outcome = what;
  place.replaceChildren(make("p", {}, make("strong", { textContent: TITLES[what] }), " ", sentence(what, message, generation)));
  if (what === "undone" || what === "failed") return;
  if (last) place.append(...numbers(last));
  if (what === "refused") {
    place.append(make("div", { className: "row" },
      make("button", { type: "button", id: "force", textContent: "Keep it anyway", onclick: force })));
  }
}

function sentence(what, message, generation) {
  if (what === "committed") return `Calibration ${generation} is in use.`;
  if (what === "undone") return generation === null ? "It captions as it was delivered." : `Calibration ${generation} is in use.`;
  // The command line's way to insist; here there is a button.
  return `${message.replace(/,? or use --force/, "")}.`;
}

function numbers({ held_out_before: before, held_out_after: after, new_words: words }) {
  const lines = [];
  if (before !== null && after !== null) {
    const better = after < before;
    lines.push(make("p", { className: better ? "better" : "worse" },
      `On samples held out, each learned without: ${better ? "better" : "worse"}, loss per word ${loss(before)} → ${loss(after)}.`));
  }
  if (words.length) lines.push(make("p", {}, "New words: ", ...words.flatMap((word, place) => [place ? ", " : "", make("b", { textContent: word })]), "."));
  return lines;
}
