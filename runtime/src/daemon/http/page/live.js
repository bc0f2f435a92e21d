// The live picture: a stream, or one picture after the other where there is none.

import { by } from "./dom.js";

/** How often a picture is asked for while there is no stream, and after how many of them the stream is tried again. */
const EVERY_MS = 1500;
const TRIES = 8;
/** Width of a copy, at most. */
const MOST_PIXELS = 960;

const picture = by("picture");
const nothing = by("nothing");
let timer = null;

/** Begins the stream anew: at the start, and whenever the device is back. */
export function watch() {
  clearTimeout(timer);
  // A page that nobody sees takes none of the device's time, and none of the browser's few connections.
  if (document.hidden) {
    picture.removeAttribute("src");
    return;
  }
  picture.onload = shown;
  picture.onerror = () => snapshots(0);
  picture.src = `api/stream.mjpg?${Date.now()}`;
}

function snapshots(count) {
  if (count === TRIES) {
    watch();
    return;
  }
  const next = () => {
    clearTimeout(timer);
    timer = setTimeout(() => snapshots(count + 1), EVERY_MS);
  };
  picture.onload = () => {
    shown();
    next();
  };
  picture.onerror = () => {
    picture.hidden = true;
    nothing.hidden = false;
    next();
  };
  picture.src = `api/snapshot.jpg?${Date.now()}`;
}

function shown() {
  picture.hidden = false;
  nothing.hidden = true;
}

/** A copy of the picture as it is now, for when a word of its caption is looked at later; null before the first. */
export function still() {
  const { naturalWidth: width, naturalHeight: height } = picture;
  if (!width || !height) return null;
  shown();
  const copy = document.createElement("canvas");
  // Large pictures are shown small; so many pixels are enough.
  const scale = Math.min(1, MOST_PIXELS / width);
  copy.width = Math.round(width * scale);
  copy.height = Math.round(height * scale);
  copy.getContext("2d").drawImage(picture, 0, 0, copy.width, copy.height);
  return copy;
}

document.addEventListener("visibilitychange", watch);
