/** Elements. What is shown comes from topologies and messages: it becomes text, never markup. */

const SVG = "http://www.w3.org/2000/svg";

/** An element `tag.class.class` with attributes, listeners (`onclick`) and children: elements, text, or nothing. */
export function el(tag, given = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return filled(document.createElement(name), classes, given, children);
}

/** The same for SVG. */
export function svg(tag, given = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return filled(document.createElementNS(SVG, name), classes, given, children);
}

function filled(made, classes, given, children) {
  if (classes.length) made.classList.add(...classes);
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Write text where it differs: most figures of most stages do not change in most seconds. */
export function write(node, text) {
  if (node.firstChild?.nodeType === 3 && node.childNodes.length === 1) {
    if (node.firstChild.data !== text) node.firstChild.data = text;
  } else node.textContent = text;
}

/** Set an attribute where it differs; null takes it away. */
export function mark(node, name, value) {
  if (value === null || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

export const byId = (id) => document.getElementById(id);

/** The path of a curve through values, the newest on the right, in a box of that size. */
export function curve(values, width, height, slots = values.length) {
  const most = Math.max(...values, 1e-9) * 1.08;
  const step = width / Math.max(slots - 1, 1);
  const start = width - (values.length - 1) * step;
  let line = "";
  values.forEach((value, at) => {
    line += `${at ? "L" : "M"}${(start + at * step).toFixed(1)} ${(height - 1 - (value / most) * (height - 2)).toFixed(1)}`;
  });
  return { line, area: values.length ? `${line}L${width} ${height}L${start.toFixed(1)} ${height}Z` : "" };
}
