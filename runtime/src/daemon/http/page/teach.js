// Unlocks changes, keeps frames, adapts and undoes.

import { get, lock, onAccess, post, unlock, unlocked } from "./api.js";
import { said } from "./caption.js";
import { attempt, by, tell } from "./dom.js";
import { outcome } from "./outcome.js";
import { refresh, samples } from "./pictures.js";

/** How often an adaptation is asked whether it is done. */
const EVERY_MS = 400;

const error = by("teach-error");
const [keep, adapt, undo] = ["keep", "adapt", "undo"].map(by);
/** The frame that is held. */
let held = null;
let standing = null;

/** Shows how learning stands. */
export async function stand() {
  try {
    show(await get("api/calibration"));
  } catch {
    // That the device does not answer is told elsewhere.
  }
}

function show(now) {
  const was = standing;
  standing = now;
  by("progress").hidden = !now.adapting;
  adapt.disabled = now.adapting || samples() === 0;
  undo.disabled = now.adapting || now.generation === null;
  const use = now.generation === null ? "In use: as it was delivered" : `In use: calibration ${now.generation}`;
  tell(by("standing"), now.adapting ? "Adapting; captions go on meanwhile …" : use);
  outcome(by("outcome"), now, () => start(true));
  if (now.adapting) setTimeout(stand, EVERY_MS);
  else if (was?.adapting) again();
}

async function again() {
  await refresh();
  await stand();
}

function access() {
  const open = unlocked();
  by("unlock").hidden = open;
  by("tools").hidden = !open;
  by("unlocked").hidden = !open;
  again();
}

by("unlock").onsubmit = (event) => {
  event.preventDefault();
  attempt(error, [event.submitter].filter(Boolean), async () => {
    await unlock(by("token").value.trim());
    by("token").value = "";
    keep.focus();
  });
};

by("forget").onclick = () => {
  lock();
  by("token").focus();
};

keep.onclick = () => attempt(error, [keep], async () => {
  const { frame } = await post("api/frames");
  held = frame;
  by("frame-picture").src = `api/frames/${encodeURIComponent(frame)}`;
  const caption = by("frame-caption");
  caption.value = "";
  const now = said()?.caption;
  caption.placeholder = now ? `it says: ${now}` : "";
  by("frame").hidden = false;
  by("keep-row").hidden = true;
  caption.focus();
});

function release() {
  held = null;
  by("frame").hidden = true;
  by("keep-row").hidden = false;
  by("frame-picture").removeAttribute("src");
  keep.focus();
}

by("frame-discard").onclick = release;

by("frame").onsubmit = (event) => {
  event.preventDefault();
  attempt(error, [event.submitter].filter(Boolean), async () => {
    await post("api/samples", { caption: by("frame-caption").value, frame: held });
    release();
    await again();
  });
};

async function start(force) {
  await attempt(error, [adapt, undo], async () => {
    await post("api/calibration", { force });
  });
  await stand();
}

adapt.onclick = () => start(false);

undo.onclick = async () => {
  await attempt(error, [adapt, undo], () => post("api/calibration/undo"));
  await again();
};

onAccess(access);
access();
