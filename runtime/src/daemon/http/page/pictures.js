// Lists of pictures with what they show: samples, and what the device asks about.

import { get, post, remove, unlocked } from "./api.js";
import { arrange, attempt, by, loss, make, tell } from "./dom.js";

/** For how long a button that deletes waits to be pressed again. */
const SURE_MS = 4000;

/** Pictures that the device asks about at a time, until all are wanted. */
const SOME = 3;

/** Samples that there are. */
let kept = 0;
export const samples = () => kept;

/** Reads both lists anew. */
export async function refresh() {
  try {
    const [all, asks] = await Promise.all([get("api/samples"), get("api/suggestions")]);
    tell(by("samples-error"), "");
    showSamples(all);
    showAsks(asks);
  } catch (error) {
    tell(by("samples-error"), error.message);
  }
}

function showSamples(all) {
  kept = all.length;
  by("samples-count").textContent = kept || "";
  by("samples-none").hidden = kept > 0;
  by("samples-note").hidden = !all.some((sample) => sample.loss_after !== null);
  // Only what changed is made anew, so that a button that is about to be pressed stays where it is.
  const key = (sample) => JSON.stringify([sample, unlocked()]);
  arrange(by("samples-list"), [...all].reverse(), key, (sample) => {
    const caption = sample.captions.join(" / ");
    const button = make("button", { type: "button", disabled: !unlocked() },
      "Delete", make("span", { className: "spoken-only", textContent: ` the sample: ${caption}` }));
    button.onclick = () => surely(button, () => attempt(by("samples-error"), [button], async () => {
      await remove(`api/samples/${encodeURIComponent(sample.name)}`);
      await refresh();
    }));
    return make("li", {},
      photo(`api/samples/${encodeURIComponent(sample.name)}`, `Sample: ${caption}`),
      make("div", { className: "fields" },
        make("p", { className: "said", textContent: caption }),
        ...learned(sample),
        make("div", { className: "row end" }, button)));
  });
}

function learned({ loss_before: before, loss_after: after, now_says: says }) {
  if (before === null || after === null) return [make("p", { className: "quiet", textContent: "Not learned yet" })];
  const better = after < before;
  return [
    make("p", { className: better ? "better" : "worse" },
      `Loss ${loss(before)} → ${loss(after)}, ${better ? "better" : "worse"}`),
    make("p", { className: "quiet" }, "Now says: ", make("q", { textContent: says })),
  ];
}

let all_asks = false;
by("asks-more").onclick = () => {
  all_asks = true;
  refresh();
};

function showAsks(asks) {
  by("asks").hidden = asks.length === 0;
  by("asks-count").textContent = asks.length || "";
  const more = all_asks ? 0 : asks.length - SOME;
  tell(by("asks-more"), more > 0 ? `Show ${more} more` : "");
  arrange(by("asks-list"), asks.slice(0, all_asks ? undefined : SOME), (ask) => JSON.stringify([ask.id, unlocked()]), ask);
}

function ask({ id, caption, time }) {
  const path = `api/suggestions/${encodeURIComponent(id)}`;
  const field = make("input", {
    type: "text", autocomplete: "off", maxLength: 300, required: true, disabled: !unlocked(),
    placeholder: "What does it show?", label: `What does the picture show of which it said: ${caption}`,
  });
  const save = make("button", { className: "strong", textContent: "Save", disabled: !unlocked() });
  const dismiss = make("button", { type: "button", textContent: "Dismiss", disabled: !unlocked() });
  const act = (work) => attempt(by("asks-error"), [save, dismiss], async () => {
    await work();
    await refresh();
  });
  dismiss.onclick = () => act(() => remove(path));
  const onsubmit = (event) => {
    event.preventDefault();
    act(() => post("api/samples", { caption: field.value, suggestion: id }));
  };
  return make("li", {},
    photo(path, "A picture that the device asks about"),
    make("form", { className: "fields", onsubmit },
      make("p", { className: "quiet" }, `${new Date(time).toLocaleTimeString([], { timeStyle: "short" })}, it said: `,
        make("q", { textContent: caption })),
      field,
      make("div", { className: "row" }, save, dismiss)));
}

const photo = (src, alt) => make("img", { src, alt, loading: "lazy", width: 112, height: 84 });

/** Does it when the button is pressed a second time. */
function surely(button, act) {
  if (button.dataset.sure) {
    act();
    return;
  }
  const words = button.firstChild;
  const before = words.data;
  button.dataset.sure = "asked";
  words.data = "Really delete?";
  setTimeout(() => {
    delete button.dataset.sure;
    words.data = before;
  }, SURE_MS);
}
