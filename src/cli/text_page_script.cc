#include "cli/text_page_parts.h"

namespace verbatim {

// The page's JSON (element "data"):
//   text       the document's bytes in base64
//   position   what a position is called
//   lengths    bytes of each position; absent: all have one
//   ids        of each position, a list; absent: not worth showing
//   millibits  of each position; absent: not scored
//   levels     the finest first: rule, begins (a boundary begins a patch, else it ends one), lengths (bytes of each
//              patch), and where boundaries are learned rows and percent: the positions that the level looked at, each
//              as its distance from the one before, and how likely a boundary is there
const std::string_view kTextPageScript = R"js(
"use strict";
(() => {
  // --- the numbers ---

  const data = JSON.parse(document.getElementById("data").textContent);
  const bytes = Uint8Array.from(atob(data.text), (c) => c.charCodeAt(0));

  function endsOf(lengths) {
    let end = 0;
    return Uint32Array.from(lengths, (length) => (end += length));
  }

  const positionEnds = data.lengths ? endsOf(data.lengths) : Uint32Array.from(bytes, (_, i) => i + 1);
  const positionOf = new Uint32Array(bytes.length);  // of each byte
  positionEnds.forEach((end, p) => positionOf.fill(p, p > 0 ? positionEnds[p - 1] : 0, end));
  const bits = data.millibits ? Float64Array.from(data.millibits, (m) => m / 1000) : null;
  const bitsBefore = new Float64Array(positionEnds.length + 1);  // of all positions before each
  if (bits) bits.forEach((b, p) => (bitsBefore[p + 1] = bitsBefore[p] + b));

  const levels = data.levels.map((level, index) => {
    const ends = endsOf(level.lengths);
    let percent = null;
    if (level.rows) {
      percent = new Int8Array(positionEnds.length).fill(-1);
      let position = -1;
      level.rows.forEach((distance, i) => (percent[position += distance] = level.percent[i]));
    }
    return {name: "level " + (index + 1), rule: level.rule, ends, percent, shown: true};
  });
  // Positions of several bytes are shown as a level below the others, with the faintest mark.
  const units = data.lengths ? {name: data.position + "s", ends: positionEnds, percent: null, shown: true} : null;
  const marked = units ? [units, ...levels] : levels;
  const ends = new Uint16Array(bytes.length + 1);  // a bit for each of `marked` that ends before this byte
  marked.forEach((level, i) => level.ends.forEach((end) => (ends[end] |= 1 << i)));

  const startOf = (p) => (p > 0 ? positionEnds[p - 1] : 0);
  const bitsPerByte = (p) => bits[p] / Math.max(positionEnds[p] - startOf(p), 1);

  // --- characters ---

  // The character at a byte: its size and value, or value -1 for a byte that belongs to none (as text/utf8.h).
  function characterAt(at) {
    const lead = bytes[at];
    const rest = (i) => (at + i < bytes.length && (bytes[at + i] & 0xC0) === 0x80 ? bytes[at + i] & 0x3F : -1);
    if (lead < 0x80) return {size: 1, value: lead};
    const size = lead < 0xC2 || lead > 0xF4 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    let value = size > 0 ? lead & (0xFF >> (size + 1)) : 0;
    for (let i = 1; i < size; ++i) {
      if (rest(i) < 0) return {size: 1, value: -1};
      value = value << 6 | rest(i);
    }
    const least = [0, 0, 0x80, 0x800, 0x10000][size];
    const isSurrogate = value >= 0xD800 && value <= 0xDFFF;
    if (size === 0 || value < least || value > 0x10FFFF || isSurrogate) return {size: 1, value: -1};
    return {size, value};
  }

  const isHidden = (c) => (c < 0x20 && c !== 9 && c !== 10) || (c >= 0x7F && c <= 0x9F) || c === 0xAD || c === 0x61C ||
    c === 0x200B || c === 0x200E || c === 0x200F || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) ||
    c === 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) || (c & 0xFFFE) === 0xFFFE;
  const hex = (value, digits) => value.toString(16).toUpperCase().padStart(digits, "0");
  const isMark = (c) => /^[\p{M}\u200C\u200D]$/u.test(String.fromCodePoint(c));
  const escapeHtml = (text) => text.replace(/[&<>"']/g, (c) => "&#" + c.charCodeAt(0) + ";");

  // What is shown together: a character with its marks, or one byte. `escape` when it cannot be shown as it is.
  function cellAt(at, limit) {
    const first = characterAt(at);
    if (first.value < 0 || isHidden(first.value)) {
      const name = first.value < 0x80 ? "\\x" + hex(bytes[at], 2) : "U+" + hex(first.value, 4);
      return {from: at, to: at + first.size, text: name, values: first.value < 0 ? [] : [first.value], escape: true};
    }
    const cell = {from: at, to: at + first.size, text: String.fromCodePoint(first.value), values: [first.value]};
    while (first.value !== 10 && cell.to < limit) {
      const next = characterAt(cell.to);
      if (next.value < 0 || !isMark(next.value)) break;
      cell.to += next.size;
      cell.text += String.fromCodePoint(next.value);
      cell.values.push(next.value);
    }
    return cell;
  }

  function cellsOf(from, to) {
    const cells = [];
    for (let at = from; at < to; at = cells[cells.length - 1].to) cells.push(cellAt(at, to));
    return cells;
  }

  const RIGHT_TO_LEFT = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;
  const LEFT_TO_RIGHT = /[\p{L}\p{Nd}]/u;
  // A gap behind these letters tears no ligature.
  const STANDS_ALONE = new RegExp("^[\\p{Script=Latin}\\p{Script=Greek}\\p{Script=Cyrillic}\\p{Script=Han}" +
    "\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Hangul}\\p{Script=Common}]", "u");

  // Which end of each cell the next one touches. Signs without a direction take that of the letter before them.
  function setDirections(cells) {
    let rightToLeft = false, known = false, waiting = 0;
    cells.forEach((cell, i) => {
      if (cell.text === "\n") known = false;
      else if (!cell.escape && RIGHT_TO_LEFT.test(cell.text)) rightToLeft = true;
      else if (!cell.escape && LEFT_TO_RIGHT.test(cell.text)) rightToLeft = false;
      else { cell.rightToLeft = known && rightToLeft; return; }
      if (cell.text === "\n") { waiting = i + 1; rightToLeft = false; return; }
      if (!known) for (let j = waiting; j < i; ++j) cells[j].rightToLeft = rightToLeft;
      known = true;
      cell.rightToLeft = rightToLeft;
    });
  }

  // --- drawing ---

  const TICK = 9;  // height in pixels of a certain boundary's tick
  const text = document.getElementById("text");
  const view = {color: "none", ticks: true, ids: false};
  const lanes = () => (view.ticks ? levels.filter((level) => level.percent && level.shown) : []);
  const step = (share) => Math.max(0, Math.min(16, Math.round(share * 16)));

  function colorOf(position) {
    if (view.color === "bits") return "var(--k" + step(bitsPerByte(position) / 8) + ")";
    if (view.color === "none") return null;
    const percent = levels[view.color].percent[position];
    return percent < 0 ? null : "var(--q" + step(percent / 100) + ")";
  }

  // Marks count from 1 with the finest level; 0 is for positions of several bytes.
  const markOf = (i) => Math.min(units ? i : i + 1, 4);
  function highestEnd(at) {
    for (let i = marked.length - 1; i >= 0; --i) if ((ends[at] >> i & 1) && marked[i].shown) return i;
    return -1;
  }

  const rectangle = (color, x, y, width, height) =>
    "linear-gradient(" + color + " 0 0) " + x + " " + y + " / " + width + " " + height + " no-repeat";

  // The backgrounds of a cell, topmost first: boundaries, ticks, colour.
  function backgroundOf(cell, shownLanes) {
    const count = cell.to - cell.from;
    const layers = [];
    const aboveLanes = "calc(100% - var(--lanes))";
    const end = highestEnd(cell.to);
    if (end >= 0) {
      const mark = markOf(end);
      layers.push(rectangle("var(--m" + mark + ")", cell.rightToLeft ? "0" : "100%", "0",
        Math.max(mark, 1) + "px", mark < 2 ? aboveLanes : "100%"));
    }
    for (let k = 1; k < count; ++k) {
      const inside = highestEnd(cell.from + k);
      const share = 100 * (cell.rightToLeft ? count - k : k) / count;
      if (inside >= 0) layers.push(rectangle("var(--m" + markOf(inside) + ")", share + "%", "0",
        Math.max(markOf(inside), 1) + "px", "calc((100% - var(--lanes)) * .45)"));
    }
    shownLanes.forEach((level, lane) => {
      for (let k = 0; k < count; ++k) {
        const percent = level.percent[positionOf[cell.from + k]];
        if (percent <= 0) continue;
        const place = cell.rightToLeft ? count - 1 - k : k;
        const x = count > 1 ? 100 * place / (count - 1) + "%" : "0";
        const below = (shownLanes.length - 1 - lane) * (TICK + 2);
        const mark = Math.min(levels.indexOf(level) + 1, 4);
        layers.push(rectangle("var(--m" + mark + ")", x, "calc(100% - " + below + "px)",
          "max(1px, " + 100 / count + "% - 1px)", Math.max(1, Math.round(TICK * percent / 100)) + "px"));
      }
    });
    const colors = [];
    for (let k = 0; k < count; ++k) colors.push(colorOf(positionOf[cell.from + k]) || "transparent");
    if (cell.rightToLeft) colors.reverse();
    if (colors.every((color) => color === colors[0])) {
      if (colors[0] !== "transparent") layers.push(rectangle(colors[0], "0", "0", "100%", aboveLanes));
    } else {
      const stops = colors.map((color, k) => color + " " + 100 * k / count + "% " + 100 * (k + 1) / count + "%");
      layers.push("linear-gradient(90deg, " + stops.join(", ") + ") 0 0 / 100% " + aboveLanes + " no-repeat");
    }
    return layers.join(", ");
  }

  function markupOf(cell, next, shownLanes) {
    const end = highestEnd(cell.to);
    const background = backgroundOf(cell, shownLanes);
    let style = background ? "background:" + background + ";" : "";
    if (end >= 0 && STANDS_ALONE.test(cell.text) && !(next && isMark(next.values[0] || 0))) {
      const mark = markOf(end);
      style += "padding-inline-end:" + (mark + 1) + "px;";
      if (mark > 0) style += "margin-inline-end:" + mark + "px;";
    }
    const position = positionOf[cell.to - 1];
    const showsId = view.ids && data.ids && positionEnds[position] <= cell.to;
    const id = showsId ? " data-id=\"" + data.ids[position].join(" ") + "\"" : "";
    const content = cell.escape ? "<i>" + cell.text + "</i>" : escapeHtml(cell.text);
    return "<b data-at=\"" + cell.from + "\"" + (cell.text === "\n" ? " class=\"newline\"" : "") + id +
      (style ? " style=\"" + style + "\"" : "") + ">" + content + "</b>";
  }

  // Blocks near the window are drawn in full; the others keep the text as it came with the page.
  const MOST_DRAWN = 60;
  const blocks = Array.from(document.querySelectorAll(".block"), (element) => ({
    element,
    from: +element.dataset.from,
    to: +element.dataset.to,
    before: element.innerHTML,
    drawn: false,
    near: false,
  }));
  const blockOf = new Map(blocks.map((block) => [block.element, block]));

  function draw(block) {
    const cells = cellsOf(block.from, block.to);
    setDirections(cells);
    const shownLanes = lanes();
    block.element.innerHTML = cells.map((cell, i) => markupOf(cell, cells[i + 1], shownLanes)).join("");
    block.drawn = true;
    if (cursor >= block.from && cursor < block.to) markCursor();
  }

  function drawNear() {
    for (const block of blocks) if (block.near && !block.drawn) draw(block);
    let drawn = blocks.filter((block) => block.drawn).length;
    for (const block of blocks) {
      if (drawn <= MOST_DRAWN) break;
      if (!block.drawn || block.near) continue;
      block.element.innerHTML = block.before;
      block.drawn = false;
      --drawn;
    }
  }

  function drawAgain() {
    text.style.setProperty("--lanes", lanes().length * (TICK + 2) + "px");
    for (const block of blocks) if (block.drawn) {
      if (block.near) draw(block);
      else { block.element.innerHTML = block.before; block.drawn = false; }
    }
    showLegend();
  }

  // --- details of one character ---

  const details = document.getElementById("details");
  let cursor = -1;  // first byte of the chosen cell

  function add(parent, tag, content, className) {
    const element = document.createElement(tag);
    if (content !== undefined) element.textContent = content;
    if (className) element.className = className;
    parent.append(element);
    return element;
  }

  const shownText = (from, to) => cellsOf(from, to).map((cell) => (cell.text === "\n" ? "\u21B5" : cell.text)).join("");

  function patchAt(level, at) {
    let low = 0, high = level.ends.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (level.ends[middle] > at) high = middle; else low = middle + 1;
    }
    return low;
  }

  function addRow(table, tag, values) {
    const row = add(table, "tr");
    for (const value of values) add(row, tag, value);
  }

  function showDetails(at) {
    const block = blocks.find((candidate) => at >= candidate.from && at < candidate.to);
    if (!block) return;
    const cell = cellAt(at, block.to);
    details.replaceChildren();
    details.hidden = false;
    const sign = add(details, "p", {"\n": "\u21B5", "\t": "\u21E5", " ": "\u2423"}[cell.text] || cell.text, "sign");
    sign.dir = "auto";
    const codes = cell.values.map((value) => "U+" + hex(value, 4)).join(" ");
    const last = cell.to - cell.from > 1 ? " to " + (cell.to - 1) : "";
    add(details, "p", (codes || "no character") + ", byte " + cell.from + last);
    const learned = levels.filter((level) => level.percent);
    const table = add(details, "table");
    addRow(add(table, "thead"), "th", [data.lengths ? data.position : "byte", ...(data.ids ? ["ids"] : []),
      ...(bits ? ["bits"] : []), ...learned.map((level) => "p, " + level.name)]);
    const body = add(table, "tbody");
    for (let p = positionOf[cell.from]; p <= positionOf[cell.to - 1]; ++p) {
      const from = startOf(p);
      const some = bytes.subarray(from, Math.min(positionEnds[p], from + 24));
      const spelled = Array.from(some, (b) => hex(b, 2)).join(" ");
      addRow(body, "td", [spelled, ...(data.ids ? [data.ids[p].join(" ")] : []), ...(bits ? [bits[p].toFixed(3)] : []),
        ...learned.map((level) => (level.percent[p] < 0 ? "-" : level.percent[p] + " %"))]);
    }
    for (const level of units ? [units, ...levels] : levels) {
      const patch = patchAt(level, cell.from);
      const from = patch > 0 ? level.ends[patch - 1] : 0, to = level.ends[patch];
      let line = (to - from) + (to - from === 1 ? " byte" : " bytes");
      if (bits) {
        const first = positionOf[from], last = positionOf[to - 1];
        line += ", " + (bitsBefore[last + 1] - bitsBefore[first]).toFixed(2) + " bits";
      }
      add(details, "h2", level === units ? data.position + " " + (patch + 1) + " of " + level.ends.length
        : level.name + ": patch " + (patch + 1) + " of " + level.ends.length);
      add(details, "p", line);
      const beginning = shownText(from, Math.min(to, from + 240)) + (to - from > 240 ? " \u2026" : "");
      const patchText = add(details, "p", beginning, "patch");
      patchText.dir = "auto";
    }
  }

  function markCursor() {
    for (const element of text.querySelectorAll(".here")) element.classList.remove("here");
    const element = text.querySelector("[data-at=\"" + cursor + "\"]");
    if (element) element.classList.add("here");
    return element;
  }

  function moveTo(at) {
    const block = blocks.find((candidate) => at >= candidate.from && at < candidate.to);
    if (!block) return;
    if (!block.drawn) draw(block);
    // The cell that the byte belongs to.
    cursor = cellsOf(block.from, block.to).find((cell) => at < cell.to).from;
    const element = markCursor();
    if (element) element.scrollIntoView({block: "nearest"});
    showDetails(cursor);
  }

  // The cell above or below: the first one on another line that reaches as far to the side.
  function lineNeighbour(down) {
    const cells = Array.from(text.querySelectorAll("[data-at]"));
    const here = cells.findIndex((cell) => +cell.dataset.at === cursor);
    if (here < 0) return cursor;
    const box = cells[here].getBoundingClientRect();
    let line = null, best = here;
    for (let i = here + (down ? 1 : -1); i >= 0 && i < cells.length; i += down ? 1 : -1) {
      const other = cells[i].getBoundingClientRect();
      if (Math.abs(other.bottom - box.bottom) < box.height / 2) continue;
      if (line !== null && Math.abs(other.bottom - line) > box.height / 2) break;
      line = other.bottom;
      best = i;
      if (other.left <= box.left + 1 && other.right > box.left) break;
    }
    return +cells[best].dataset.at;
  }

  function patchNeighbour(forward) {
    const level = marked.find((candidate) => candidate.shown && candidate !== units) || units;
    if (!level) return cursor;
    const patch = patchAt(level, cursor) + (forward ? 1 : -1);
    return patch < 0 ? 0 : patch >= level.ends.length ? cursor : patch > 0 ? level.ends[patch - 1] : 0;
  }

  text.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey) return;
    if (event.key === "Escape") { cursor = -1; markCursor(); details.hidden = true; return; }
    if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    if (cursor < 0) {
      const first = blocks.find((block) => block.element.getBoundingClientRect().bottom > 120);
      if (first) moveTo(first.from);
      return;
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") return moveTo(lineNeighbour(event.key === "ArrowDown"));
    const forward = event.key === "ArrowRight";
    if (event.ctrlKey) return moveTo(patchNeighbour(forward));
    const block = blocks.find((candidate) => cursor >= candidate.from && cursor < candidate.to);
    moveTo(forward ? cellAt(cursor, block.to).to : cursor - 1);
  });
  const cellUnder = (event) => event.target.closest && event.target.closest("[data-at]");
  text.addEventListener("mouseover", (event) => {
    const cell = cellUnder(event);
    if (cell) showDetails(+cell.dataset.at);
  });
  text.addEventListener("mouseleave", () => { if (cursor >= 0) showDetails(cursor); });
  text.addEventListener("click", (event) => {
    const cell = cellUnder(event);
    if (cell) moveTo(+cell.dataset.at);
  });

  // --- switches ---

  const byId = (id) => document.getElementById(id);
  const bitsLegend = byId("legend");

  function showLegend() {
    if (bitsLegend) bitsLegend.hidden = view.color !== "bits";
    let legend = byId("probability-legend");
    if (legend) legend.remove();
    if (view.color === "bits" || view.color === "none") return;
    legend = document.createElement("p");
    legend.className = "legend";
    legend.id = "probability-legend";
    add(legend, "span", "probability of a boundary in %");
    for (let i = 0; i <= 16; ++i) add(legend, "b", i % 4 === 0 ? String(i * 100 / 16) : "", "q" + i);
    document.querySelector(".bar").append(legend);
  }

  function addOption(value, label) {
    const option = add(byId("color"), "option", label);
    option.value = value;
  }
  if (bits) addOption("bits", "bits per byte");
  levels.forEach((level, i) => { if (level.percent) addOption(String(i), "boundary probability, " + level.name); });
  addOption("none", "none");
  view.color = byId("color").value;
  byId("color").addEventListener("change", (event) => { view.color = event.target.value; drawAgain(); });

  marked.forEach((level, i) => {
    const label = add(byId("levels"), "label");
    const box = add(label, "input");
    box.type = "checkbox";
    box.checked = true;
    add(label, "span", undefined, "mark e" + markOf(i)).style.marginInlineEnd = "0";
    add(label, "span", level.name);
    box.addEventListener("change", () => { level.shown = box.checked; drawAgain(); });
  });
  if (levels.some((level) => level.percent)) byId("ticks-label").hidden = false;
  byId("ticks").addEventListener("change", (event) => { view.ticks = event.target.checked; drawAgain(); });
  if (data.ids) byId("ids-label").hidden = false;
  byId("ids").addEventListener("change", (event) => { view.ids = event.target.checked; drawAgain(); });
  byId("fixed").addEventListener("change", (event) => text.classList.toggle("fixed", event.target.checked));
  byId("size").addEventListener("input", (event) => (text.style.fontSize = event.target.value + "px"));
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("controls").hidden = false;

  text.classList.add("live");
  text.tabIndex = 0;
  text.setAttribute("role", "group");
  text.setAttribute("aria-label", "The text. Arrow keys move by characters and lines, with Ctrl by patches.");
  details.hidden = false;
  add(details, "p", "Point at a character, or go through the text with the arrow keys (with Ctrl by patches).");
  drawAgain();

  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) blockOf.get(entry.target).near = entry.isIntersecting;
    drawNear();
  }, {rootMargin: "1200px 0px"});
  for (const block of blocks) observer.observe(block.element);
})();
)js";

}  // namespace verbatim
