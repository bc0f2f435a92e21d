// What was said before, the newest first. A caption that is said again and again is one line.

import { by, make } from "./dom.js";

/** Lines that are kept. */
const MOST = 100;

const list = by("history");
let last = null;

/** What the device remembers, in place of what the page does. */
export function fill(events) {
  list.replaceChildren();
  last = null;
  for (const event of events) add(event);
}

/** A caption came. */
export function add(event) {
  if (last !== null && event.time === last.time && event.sequence === last.sequence) return;
  const time = new Date(event.time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  if (last?.caption === event.caption) {
    last.times += 1;
    last.count.textContent = `×${last.times}`;
    last.clock.textContent = time;
    last.clock.dateTime = event.time;
  } else {
    const clock = make("time", { dateTime: event.time, textContent: time });
    const count = make("span", { className: "times" });
    list.prepend(make("li", {}, clock, make("span", { textContent: event.caption }), count));
    last = { caption: event.caption, times: 1, clock, count };
    while (list.children.length > MOST) list.lastElementChild.remove();
  }
  last.time = event.time;
  last.sequence = event.sequence;
}
