// The page: what the device sees and says, as it comes.

import { get } from "./api.js";
import { say } from "./caption.js";
import { by, tell } from "./dom.js";
import { add, fill } from "./history.js";
import { watch } from "./live.js";
import { refresh } from "./pictures.js";
import { follow } from "./status.js";
import { stand } from "./teach.js";

/** After so long, a connection that the browser gave up is made anew. */
const AGAIN_MS = 3000;
/** How often what others may have changed is read. */
const EVERY_MS = 10000;

function listen() {
  const captions = new EventSource("api/captions");
  captions.onopen = async () => {
    tell(by("lost"), "");
    watch();
    try {
      fill(await get("api/history"));
    } catch {
      // Captions come all the same.
    }
    await others();
  };
  captions.onerror = () => {
    tell(by("lost"), "The connection to the device is lost; trying again …");
    if (captions.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS);
  };
  captions.addEventListener("caption", ({ data }) => {
    const event = JSON.parse(data);
    add(event);
    say(event);
  });
}

async function others() {
  if (document.hidden) return;
  await refresh();
  await stand();
}

listen();
follow();
setInterval(others, EVERY_MS);
