// Elements of the page. Data only ever becomes text, never markup.

/** The element with this id. */
export const by = (id) => document.getElementById(id);

/** A new element; `properties` are set as they are, children are elements or text. */
export function make(tag, properties = {}, ...children) {
  const { data = {}, label, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, data);
  if (label) element.setAttribute("aria-label", label);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Shows text in an element, and hides the element where there is none. Whether it changed. */
export function tell(element, text) {
  const changed = element.textContent !== (text ?? "");
  if (changed) element.textContent = text ?? "";
  element.hidden = !text;
  return changed;
}

/** Runs what a button or form is for, once at a time; an error is told in `place`. */
export async function attempt(place, controls, work) {
  tell(place, "");
  for (const control of controls) control.disabled = true;
  try {
    return await work();
  } catch (error) {
    tell(place, error.message);
    return undefined;
  } finally {
    for (const control of controls) control.disabled = false;
  }
}

/** Thousandths as they are read: "12 %". */
export const percent = (share) => `${Math.round(share * 100)} %`;

/** A loss as it is read. */
export const loss = (value) => value.toFixed(2);

/** Lets the elements of a list be those of `items`, in their order; one whose key is there already stays as it is. */
export function arrange(list, items, key, create) {
  const old = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item) => {
    const name = key(item);
    const kept = old.get(name) ?? create(item);
    kept.dataset.key = name;
    return kept;
  });
  for (const child of old.values()) if (!wanted.includes(child)) child.remove();
  wanted.forEach((child, place) => {
    if (list.children[place] !== child) list.insertBefore(child, list.children[place] ?? null);
  });
  return wanted;
}
