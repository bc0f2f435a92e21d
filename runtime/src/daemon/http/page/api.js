// Requests to the device, and the token that changes need.

const KEY = "metalens-token";

/** What the device said when it did not do what was asked, on one line. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// A browser that keeps nothing still has the token until the page is closed.
let token = null;
try {
  token = localStorage.getItem(KEY);
} catch {
  token = null;
}
const watchers = [];

/** Whether there is a token. */
export const unlocked = () => token !== null;

/** Calls `watcher` whenever there is a token or none any more. */
export const onAccess = (watcher) => watchers.push(watcher);

function setToken(value) {
  token = value;
  try {
    if (value === null) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, value);
  } catch {
    // It is kept for as long as the page is open.
  }
  for (const watcher of watchers) watcher();
}

/** Forgets the token. */
export const lock = () => setToken(null);

/** Keeps the token, if the device says that it is the right one. */
export async function unlock(value) {
  await request("POST", "api/token", { token: value });
  setToken(value);
}

async function request(method, path, { body, token: with_token = token } = {}) {
  const headers = {};
  if (method !== "GET" && with_token !== null) headers.Authorization = `Bearer ${with_token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new ApiError(0, "The device does not answer.");
  }
  const text = await response.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    value = null;
  }
  // Of health, the body is wanted whatever the status.
  if (response.ok || value?.status) return value;
  if (response.status === 401 && with_token === token && token !== null) lock();
  if (response.status === 401) throw new ApiError(401, "The device does not know this token.");
  throw new ApiError(response.status, value?.error ?? `The device answered ${response.status}.`);
}

/** Reads. */
export const get = (path) => request("GET", path);

/** Does something. */
export const post = (path, body = {}) => request("POST", path, { body });

/** Removes. */
export const remove = (path) => request("DELETE", path);
