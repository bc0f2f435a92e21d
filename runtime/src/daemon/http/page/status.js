// How the device goes.

import { get } from "./api.js";
import { by, make, tell } from "./dom.js";

const EVERY_MS = 3000;
const PHASES = {
  starting: "Starting",
  captioning: "Captioning",
  calibrating: "Captioning and learning",
  cooling: "Too hot: resting until it has cooled down",
  no_camera: "No camera: looking for it",
};

let about = null;

/** Shows how the device goes, again and again. */
export async function follow() {
  try {
    about ??= await get("api/version");
    show(await get("healthz"));
  } catch {
    // The stream of captions notices too, and tells.
    phase("lost", "Not reached");
  }
  setTimeout(follow, EVERY_MS);
}

function phase(name, words) {
  by("phase").dataset.phase = name;
  by("phase-words").textContent = words;
}

function show(health) {
  const ended = health.camera === "ended" && health.status !== "calibrating";
  phase(health.status, ended ? "No more pictures come" : PHASES[health.status]);
  const facts = [["Captions a second", health.captions_per_second.toFixed(1)]];
  if (health.temperature_celsius !== null) facts.push(["Temperature", `${Math.round(health.temperature_celsius)} °C`]);
  facts.push(["Calibration", health.generation === null ? "none" : `no. ${health.generation}`]);
  facts.push(["Version", health.version, "wide"]);
  by("facts").replaceChildren(...facts.map(([name, value, className = ""]) =>
    make("div", { className }, make("dt", { textContent: name }), make("dd", { textContent: value }))));
  const release = about.release ? `, release ${about.release}` : "";
  tell(by("about"), `Metalens ${about.version}${release}, with the bundle ${about.bundle_name} ${about.bundle.slice(0, 12)}`);
}
