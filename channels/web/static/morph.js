// Puts new HTML in the place of old node by node, so that what the reader does in it stays: focus, what he types,
// selection, scrolling, open <details>. Elements with an id are recognised by it wherever they have gone.

export function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html; // made by our own templates, which escape everything
  return template.content;
}

export function morph(target, html) {
  children(target, typeof html === "string" ? parse(html) : html);
}

function children(old, fresh) {
  const keyed = new Map();
  for (const each of old.children) if (each.id) keyed.set(each.id, each);
  let cursor = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const match = next.id ? keyed.get(next.id) : similar(cursor, next);
    if (match && match.nodeName === next.nodeName) {
      if (match === cursor) cursor = cursor.nextSibling;
      else old.insertBefore(match, cursor);
      node(match, next);
    } else {
      old.insertBefore(next, cursor);
    }
  }
  while (cursor) {
    const gone = cursor;
    cursor = cursor.nextSibling;
    gone.remove();
  }
}

function similar(from, next) {
  for (let each = from; each; each = each.nextSibling) if (each.nodeName === next.nodeName && !each.id) return each;
  return null;
}

export function node(old, next) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  const same = attributes(old, next);
  if (same && (old.dataset.ago || old.dataset.since)) return; // the browser fills these itself
  if (old.matches("input, textarea, select")) return; // what is typed is the reader's
  children(old, next);
}

function attributes(old, next) {
  let same = true;
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value) {
      if ((name === "open" && old.nodeName === "DETAILS") || name === "data-once") continue;
      old.setAttribute(name, value);
      same = false;
    }
  }
  for (const { name } of [...old.attributes]) {
    const own = name === "open" || name === "title" || name === "tabindex" || name === "aria-busy";
    if (!next.hasAttribute(name) && !own) { old.removeAttribute(name); same = false; }
  }
  return same;
}
