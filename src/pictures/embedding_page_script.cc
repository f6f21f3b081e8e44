#include "pictures/embedding_page_parts.h"

namespace verbatim {

// The page's JSON (element "data"):
//   unit     what a point is called
//   scripts  those of the points, the most frequent first: name, hue (-1: grey), shape
//   plots    id of its element, x and y of each point in steps, length of a step
//   shares   of the variance, for the two axes of the first plot
//   script   of each point, an index into scripts
//   bytes    of each point's text
//   text     of each point: plain pieces and signs take turns, beginning with a plain one
//   near     of each point: its nearest points, index and cosine in ten-thousandths take turns
const std::string_view kEmbeddingPageScript = R"js(
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const count = data.script.length;
  const byId = (id) => document.getElementById(id);

  // --- what is chosen; drawn at the end ---

  const shown = data.scripts.map(() => true);
  let hovered = -1;     // point under the pointer
  let chosen = -1;      // point that stays
  let emphasised = -1;  // script under the pointer in the legend
  let found = null;     // Set of points, null without a search

  const current = () => (hovered >= 0 ? hovered : chosen);
  const isShown = (point) => shown[data.script[point]];
  const near = data.near.map((list) => list.filter((_, i) => i % 2 === 0));

  // The many lie below the few.
  const drawOrder = Array.from({length: count}, (_, i) => i).sort((a, b) => data.script[a] - data.script[b] || a - b);

  // --- markers: about the same area around the origin ---

  const SHAPES = [
    "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z",
    "M-.9-.9H.9V.9H-.9Z",
    "M0-1.2L1.15.85H-1.15Z",
    "M0-1.32L1.15 0 0 1.32-1.15 0Z",
    "M0 1.2L1.15-.85H-1.15Z",
    "M-.42-1.2H.42V-.42H1.2V.42H.42V1.2H-.42V.42H-1.2V-.42H-.42Z",
    "M.55-1.15L1.15-.55.59 0 1.15.55.55 1.15 0 .59-.55 1.15-1.15.55-.59 0-1.15-.55-.55-1.15 0-.59Z",
  ];
  const paths = SHAPES.map((shape) => new Path2D(shape));
  const colorName = (script) => (data.scripts[script].hue < 0 ? "--other" : "--h" + data.scripts[script].hue);

  function addMarker(parent, script) {
    const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    picture.setAttribute("viewBox", "-1.4 -1.4 2.8 2.8");
    picture.setAttribute("class", "sign-of-script");
    picture.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", SHAPES[data.scripts[script].shape]);
    path.style.fill = "var(" + colorName(script) + ")";
    picture.append(path);
    parent.append(picture);
  }

  let colors = {};
  function readColors() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    colors = {scripts: data.scripts.map((_, script) => read(colorName(script)))};
    for (const name of ["paper", "ink", "faint", "line", "grid", "accent"]) colors[name] = read("--" + name);
  }

  // --- text ---

  function add(parent, tag, content, className) {
    const element = document.createElement(tag);
    if (content !== undefined) element.textContent = content;
    if (className) element.className = className;
    parent.append(element);
    return element;
  }

  const LONGEST = {tip: 60, list: 120, details: 4000};  // characters

  function addText(parent, tag, point, most, className) {
    const element = add(parent, tag, undefined, "text" + (className ? " " + className : ""));
    element.dir = "auto";
    let left = most;
    for (const [i, piece] of data.text[point].entries()) {
      const characters = Array.from(piece);
      const part = characters.length > left ? characters.slice(0, left).join("") + "\u2026" : piece;
      if (i % 2 === 0) element.append(part);
      else add(element, "i", part, part[0] === "\u00B7" ? "padding" : /^[\\U]/.test(part) ? "" : "bare");
      left -= characters.length;
      if (left < 0) break;
    }
    return element;
  }

  // --- plots ---

  const MARGIN = {components: {left: 52, right: 12, top: 12, bottom: 42}, neighbours: {left: 8, right: 8, top: 8, bottom: 8}};
  const MOST_ZOOM = 200;
  const usualRadius = Math.max(3, Math.min(6, 17.5 / Math.pow(count, 0.21)));

  class Plot {
    constructor(given) {
      this.id = given.id;
      this.x = Float64Array.from(given.x, (value) => value * given.step);
      this.y = Float64Array.from(given.y, (value) => value * given.step);
      this.canvas = byId(given.id).querySelector("canvas");
      this.tip = byId(given.id).querySelector(".tip");
      this.context = this.canvas.getContext("2d");
      this.margin = MARGIN[given.id];
      const range = (values) => values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);
      const [left, right] = range(this.x), [low, high] = range(this.y);
      this.middle = {x: (left + right) / 2, y: (low + high) / 2};
      this.size = {x: right - left, y: high - low};
      this.showAll();
    }

    showAll() {
      this.zoom = 1;
      this.center = {...this.middle};
      this.canvas.classList.remove("zoomed");
    }

    // After a change of size; drawing is in CSS pixels.
    fit() {
      const box = this.canvas.getBoundingClientRect();
      this.width = this.canvas.clientWidth;
      this.height = this.canvas.clientHeight;
      const ratio = window.devicePixelRatio || 1;
      this.canvas.width = Math.round(this.width * ratio);
      this.canvas.height = Math.round(this.height * ratio);
      this.ratio = ratio;
      this.border = (box.width - this.width) / 2;
    }

    get inner() {
      return {width: Math.max(20, this.width - this.margin.left - this.margin.right),
              height: Math.max(20, this.height - this.margin.top - this.margin.bottom)};
    }
    // Pixels per unit, the same on both axes, so that distances can be compared.
    get scale() {
      const room = 2 * usualRadius + 12;
      const fitting = Math.min((this.inner.width - room) / (this.size.x || 1e-9),
                               (this.inner.height - room) / (this.size.y || 1e-9));
      return this.zoom * (this.size.x || this.size.y ? fitting : 1);
    }
    get origin() {
      return {x: this.margin.left + this.inner.width / 2, y: this.margin.top + this.inner.height / 2};
    }
    toScreen(point) {
      const scale = this.scale, origin = this.origin;
      return {x: origin.x + (this.x[point] - this.center.x) * scale, y: origin.y - (this.y[point] - this.center.y) * scale};
    }
    isInside(place) {
      return place.x >= this.margin.left && place.x <= this.width - this.margin.right &&
        place.y >= this.margin.top && place.y <= this.height - this.margin.bottom;
    }

    // What lies under `place` stays there.
    zoomBy(factor, place = this.origin) {
      const before = this.scale;
      const zoom = Math.max(1, Math.min(MOST_ZOOM, this.zoom * factor));
      const away = {x: place.x - this.origin.x, y: place.y - this.origin.y};
      this.zoom = zoom;
      const after = this.scale;
      this.center.x += away.x / before - away.x / after;
      this.center.y -= away.y / before - away.y / after;
      if (zoom === 1) this.showAll();
      this.canvas.classList.toggle("zoomed", zoom > 1);
    }

    moveBy(x, y) {
      this.center.x -= x / this.scale;
      this.center.y += y / this.scale;
      // Some of the picture stays in sight.
      for (const axis of ["x", "y"]) {
        const most = this.size[axis] / 2;
        this.center[axis] = Math.max(this.middle[axis] - most, Math.min(this.middle[axis] + most, this.center[axis]));
      }
    }

    bringIntoSight(point) {
      if (this.isInside(this.toScreen(point))) return;
      this.center = {x: this.x[point], y: this.y[point]};
    }

    pointAt(place, reach) {
      let best = -1, least = reach * reach;
      for (const point of drawOrder) {
        if (!isShown(point)) continue;
        const at = this.toScreen(point);
        const squared = (at.x - place.x) ** 2 + (at.y - place.y) ** 2;
        if (squared <= least) { best = point; least = squared; }
      }
      return best;
    }

    // The next point in a direction; what lies aside counts double.
    neighbourOf(from, direction) {
      const start = this.toScreen(from);
      let best = -1, least = Infinity;
      for (let point = 0; point < count; ++point) {
        if (point === from || !isShown(point)) continue;
        const at = this.toScreen(point);
        const along = (at.x - start.x) * direction.x + (at.y - start.y) * direction.y;
        const aside = Math.abs((at.x - start.x) * direction.y - (at.y - start.y) * direction.x);
        if (along < 0.5 || aside > 2 * along) continue;
        if (along + 2 * aside < least) { best = point; least = along + 2 * aside; }
      }
      return best;
    }

    // --- drawing ---

    draw() {
      const context = this.context;
      context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
      context.clearRect(0, 0, this.width, this.height);
      if (this.id === "components") this.drawAxes();
      context.save();
      context.beginPath();
      context.rect(this.margin.left, this.margin.top, this.inner.width, this.inner.height);
      if (this.id === "components") context.clip();
      const radius = usualRadius * Math.min(2, Math.pow(this.zoom, 0.25));
      const focus = current();
      const rings = focus < 0 ? [] : near[focus].filter(isShown);
      const inFocus = new Set(focus < 0 ? [] : [focus, ...rings]);
      for (const point of drawOrder) {
        if (!isShown(point) || inFocus.has(point)) continue;
        const faded = (emphasised >= 0 && data.script[point] !== emphasised) || (found && !found.has(point)) ||
          (hovered < 0 && chosen >= 0 && emphasised < 0 && !found);
        this.drawMarker(point, radius, faded ? (found || emphasised >= 0 ? 0.1 : 0.35) : 0.85);
      }
      if (found) for (const point of found) if (isShown(point) && !inFocus.has(point)) this.drawRing(point, radius + 2.5, colors.ink, 1);
      if (focus >= 0 && isShown(focus)) this.drawFocus(focus, rings, radius);
      context.restore();
      this.placeTip(focus);
    }

    drawMarker(point, radius, opacity) {
      const context = this.context;
      const at = this.toScreen(point);
      if (at.x < -20 || at.y < -20 || at.x > this.width + 20 || at.y > this.height + 20) return;
      const script = data.script[point];
      context.save();
      context.translate(at.x, at.y);
      context.scale(radius, radius);
      context.globalAlpha = opacity;
      context.fillStyle = colors.scripts[script];
      const path = paths[data.scripts[script].shape];
      context.fill(path);
      context.strokeStyle = colors.paper;
      context.lineWidth = 0.6 / radius;
      context.stroke(path);
      context.restore();
    }

    drawRing(point, radius, color, width) {
      const context = this.context;
      const at = this.toScreen(point);
      context.beginPath();
      context.arc(at.x, at.y, radius, 0, 2 * Math.PI);
      context.strokeStyle = color;
      context.lineWidth = width;
      context.stroke();
    }

    drawFocus(focus, rings, radius) {
      const context = this.context;
      const at = this.toScreen(focus);
      context.strokeStyle = colors.ink;
      context.lineWidth = 1;
      context.globalAlpha = 0.45;
      for (const point of rings) {
        const to = this.toScreen(point);
        context.beginPath();
        context.moveTo(at.x, at.y);
        context.lineTo(to.x, to.y);
        context.stroke();
      }
      context.globalAlpha = 1;
      for (const point of rings.slice().reverse()) {
        this.drawMarker(point, radius + 0.7, 1);
        this.drawRing(point, radius + 3.5, colors.ink, 1.1);
      }
      this.drawMarker(focus, radius + 1.5, 1);
      this.drawRing(focus, radius + 5, colors.paper, 4.5);
      this.drawRing(focus, radius + 5, colors.accent, 2.5);
    }

    drawAxes() {
      const context = this.context, {left, top} = this.margin, {width, height} = this.inner;
      const right = left + width, bottom = top + height, scale = this.scale;
      context.font = "11px system-ui, sans-serif";
      context.lineWidth = 1;
      const ticks = (low, high, pixels) => {
        const rough = (high - low) / Math.max(2, pixels / 70);
        const power = Math.pow(10, Math.floor(Math.log10(rough)));
        const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
        const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
        const list = [];
        for (let i = Math.ceil(low / step); i * step <= high; ++i) list.push([i * step, (i * step).toFixed(digits)]);
        return list;
      };
      const line = (x1, y1, x2, y2, strong) => {
        context.strokeStyle = strong ? colors.line : colors.grid;
        context.beginPath();
        context.moveTo(x1, y1);
        context.lineTo(x2, y2);
        context.stroke();
      };
      const label = (text) => (Number(text) === 0 ? "0" : text.replace("-", "\u2212"));
      context.fillStyle = colors.faint;
      context.textAlign = "center";
      context.textBaseline = "top";
      for (const [value, text] of ticks(this.center.x - width / 2 / scale, this.center.x + width / 2 / scale, width)) {
        const x = Math.round(left + width / 2 + (value - this.center.x) * scale) + 0.5;
        line(x, top, x, bottom, Number(text) === 0);
        if (x > left + 10 && x < right - 10) context.fillText(label(text), x, bottom + 5);
      }
      context.textAlign = "right";
      context.textBaseline = "middle";
      for (const [value, text] of ticks(this.center.y - height / 2 / scale, this.center.y + height / 2 / scale, height)) {
        const y = Math.round(top + height / 2 - (value - this.center.y) * scale) + 0.5;
        line(left, y, right, y, Number(text) === 0);
        if (y > top + 6 && y < bottom - 6) context.fillText(label(text), left - 6, y);
      }
      context.strokeStyle = colors.line;
      context.strokeRect(left + 0.5, top + 0.5, width - 1, height - 1);
      const share = (i) => "component " + (i + 1) + ": " + (100 * data.shares[i]).toFixed(1) + " % of the variance";
      context.font = "12px system-ui, sans-serif";
      context.fillStyle = colors.ink;
      context.textAlign = "center";
      context.textBaseline = "alphabetic";
      context.fillText(share(0), left + width / 2, this.height - 8, width);
      context.save();
      context.translate(14, top + height / 2);
      context.rotate(-Math.PI / 2);
      context.fillText(share(1), 0, 0, height);
      context.restore();
    }

    placeTip(focus) {
      const at = focus >= 0 && isShown(focus) ? this.toScreen(focus) : null;
      this.tip.hidden = !at || !this.isInside(at);
      if (this.tip.hidden) { this.tipOf = -1; return; }
      if (this.tipOf !== focus) {
        this.tip.replaceChildren();
        addText(this.tip, "span", focus, LONGEST.tip);
        this.tipOf = focus;
      }
      const gap = usualRadius + 10, box = this.tip.getBoundingClientRect();
      const right = at.x + gap + box.width < this.width - 4;
      const x = right ? at.x + gap : at.x - gap - box.width;
      const y = at.y - gap - box.height;
      this.tip.style.left = Math.max(4, x) + "px";
      this.tip.style.top = Math.max(4, Math.min(this.height - box.height - 4, y)) + "px";
    }
  }

  const plots = data.plots.map((given) => new Plot(given));

  let waiting = false;
  function drawSoon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      for (const plot of plots) plot.draw();
    });
  }

  // --- details of one point ---

  const details = byId("details");
  let detailed = -2;

  function showDetails() {
    const point = current();
    if (point === detailed) return;
    detailed = point;
    details.replaceChildren();
    details.classList.toggle("idle", point < 0);
    if (point < 0) return showHelp();
    addText(details, "p", point, LONGEST.details, "chosen");
    const what = add(details, "p", undefined, "what");
    addMarker(what, data.script[point]);
    add(what, "b", data.scripts[data.script[point]].name);
    add(what, "span", data.unit + " " + point + ", " + data.bytes[point] + (data.bytes[point] === 1 ? " byte" : " bytes"));
    if (near[point].length === 0) return;
    const title = add(details, "h3", "nearest " + data.unit + "s");
    add(title, "span", "cosine");
    const list = add(details, "ol");
    near[point].forEach((other, i) => {
      const button = add(add(list, "li"), "button");
      button.type = "button";
      button.title = data.scripts[data.script[other]].name + ", " + data.unit + " " + other;
      addMarker(button, data.script[other]);
      const text = addText(button, "span", other, LONGEST.list);
      if (!isShown(other)) text.classList.add("hidden-script");
      add(button, "span", (data.near[point][2 * i + 1] / 10000).toFixed(3), "cosine");
      button.addEventListener("click", () => {
        if (!isShown(other)) toggle(data.script[other]);
        choose(other);
        const first = details.querySelector("li button");
        if (first) first.focus();
      });
    });
  }

  function showHelp() {
    add(details, "p", "Point at a " + data.unit + " or tap it: its text and its nearest neighbours stand here, and both pictures mark them. A click keeps it, Escape lets it go.");
    add(details, "p", "Wheel, pinch or + and \u2212 zoom; dragging moves; a double click shows all again.");
    add(details, "p", "With the keyboard: Tab to a picture, then arrow keys go from point to point.");
  }

  function choose(point) {
    chosen = point;
    hovered = -1;
    if (point >= 0) for (const plot of plots) plot.bringIntoSight(point);
    showDetails();
    drawSoon();
  }

  function hover(point) {
    if (point === hovered) return;
    hovered = point;
    showDetails();
    drawSoon();
  }

  // --- pointer and keyboard ---

  const TAP = 5;  // pixels that a finger may slip without dragging
  const STEPS = {ArrowLeft: {x: -1, y: 0}, ArrowRight: {x: 1, y: 0}, ArrowUp: {x: 0, y: -1}, ArrowDown: {x: 0, y: 1}};

  function listen(plot) {
    const canvas = plot.canvas;
    const pointers = new Map();
    let slipped = 0;
    const placeOf = (event) => {
      const box = canvas.getBoundingClientRect();
      return {x: event.clientX - box.left - plot.border, y: event.clientY - box.top - plot.border};
    };
    const reach = (event) => (event.pointerType === "touch" ? 26 : 14);

    canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, placeOf(event));
      if (pointers.size === 1) slipped = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      const place = placeOf(event), before = pointers.get(event.pointerId);
      if (!before) {
        if (event.pointerType !== "touch") hover(plot.pointAt(place, reach(event)));
        return;
      }
      const step = {x: place.x - before.x, y: place.y - before.y};
      slipped += Math.hypot(step.x, step.y);
      if (slipped <= TAP) return;
      canvas.classList.add("dragged");
      if (pointers.size === 1) {
        plot.moveBy(step.x, step.y);
      } else {
        const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
        const far = (a, b) => Math.max(20, Math.hypot(a.x - b.x, a.y - b.y));
        plot.zoomBy(far(place, other) / far(before, other), {x: (place.x + other.x) / 2, y: (place.y + other.y) / 2});
      }
      pointers.set(event.pointerId, place);
      drawSoon();
    });
    const release = (event) => {
      const wasDown = pointers.delete(event.pointerId);
      if (pointers.size === 0) canvas.classList.remove("dragged");
      if (wasDown && event.type === "pointerup" && slipped <= TAP && pointers.size === 0) {
        choose(plot.pointAt(placeOf(event), reach(event)));
      }
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("pointerleave", () => hover(-1));
    canvas.addEventListener("dblclick", () => { plot.showAll(); drawSoon(); });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 200 : 1);
      plot.zoomBy(Math.exp(-0.0018 * Math.max(-300, Math.min(300, pixels))), placeOf(event));
      hover(plot.pointAt(placeOf(event), reach(event)));
      drawSoon();
    }, {passive: false});

    canvas.addEventListener("keydown", (event) => {
      if (event.altKey || event.metaKey || event.ctrlKey) return;
      if (event.key in STEPS) {
        event.preventDefault();
        const from = current();
        const next = from >= 0 && isShown(from) ? plot.neighbourOf(from, STEPS[event.key]) : plot.pointAt(plot.origin, Infinity);
        if (next >= 0) choose(next);
      } else if (event.key === "+" || event.key === "=") {
        zoomOnChosen(plot, 1.5);
      } else if (event.key === "-") {
        zoomOnChosen(plot, 1 / 1.5);
      } else if (event.key === "0") {
        plot.showAll();
        drawSoon();
      }
    });
    for (const button of byId(plot.id).querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => {
        const factor = Number(button.dataset.zoom);
        if (factor > 0) zoomOnChosen(plot, factor);
        else { plot.showAll(); drawSoon(); }
      });
    }
  }

  function zoomOnChosen(plot, factor) {
    plot.zoomBy(factor, chosen >= 0 ? plot.toScreen(chosen) : undefined);
    drawSoon();
  }

  document.addEventListener("keydown", (event) => { if (event.key === "Escape") choose(-1); });

  // --- legend and search ---

  const buttons = [];

  function update() {
    buttons.forEach((button, script) => button.setAttribute("aria-pressed", String(shown[script])));
    if (chosen >= 0 && !isShown(chosen)) chosen = -1;
    hovered = -1;
    detailed = -2;
    showDetails();
    drawSoon();
  }

  function toggle(script) {
    shown[script] = !shown[script];
    update();
  }

  function makeLegend() {
    const legend = byId("legend");
    const counts = data.scripts.map(() => 0);
    for (const script of data.script) ++counts[script];
    data.scripts.forEach((script, i) => {
      const button = add(legend, "button");
      button.type = "button";
      button.title = "Hide or show " + script.name + "; a double click shows it alone";
      addMarker(button, i);
      add(button, "span", script.name);
      add(button, "span", String(counts[i]), "count");
      button.addEventListener("click", () => toggle(i));
      button.addEventListener("dblclick", () => {
        shown.fill(false);
        shown[i] = true;
        update();
      });
      const emphasise = (which) => () => { emphasised = which; drawSoon(); };
      button.addEventListener("pointerenter", emphasise(i));
      button.addEventListener("pointerleave", emphasise(-1));
      buttons.push(button);
    });
    if (data.scripts.length < 2) return;
    for (const [label, value] of [["all", true], ["none", false]]) {
      const button = add(legend, "button", label, "all");
      button.type = "button";
      button.title = value ? "Show all scripts" : "Hide all scripts";
      button.addEventListener("click", () => { shown.fill(value); update(); });
    }
  }

  const search = byId("find");
  const plain = data.text.map((pieces) => pieces.join("").toLowerCase());
  search.addEventListener("input", () => {
    const wanted = search.value.toLowerCase();
    found = null;
    if (wanted) {
      found = new Set();
      plain.forEach((text, point) => { if (text.includes(wanted)) found.add(point); });
    }
    byId("found").textContent = found ? found.size + " found" : "";
    drawSoon();
  });
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !found) return;
    const list = [...found].filter(isShown);
    if (list.length) choose(list.find((point) => point > chosen) ?? list[0]);
  });

  // --- start ---

  const chooseFromAddress = () => {
    const point = /^#\d+$/.test(location.hash) ? Number(location.hash.slice(1)) : -1;
    if (point >= 0 && point < count) choose(point);
  };
  document.querySelector(".bar").hidden = false;
  makeLegend();
  readColors();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColors(); drawSoon(); });
  const observer = new ResizeObserver(() => {
    for (const plot of plots) plot.fit();
    drawSoon();
  });
  for (const plot of plots) {
    plot.fit();
    listen(plot);
    observer.observe(plot.canvas);
  }
  showDetails();
  window.addEventListener("hashchange", chooseFromAddress);
  chooseFromAddress();
  drawSoon();
})();
)js";

}  // namespace verbatim
