"use strict";
// Two maps of cells with one interface: WebGL by regl-scatterplot, and a plain canvas where there is no WebGL.
// Coordinates lie in [-1, 1]. `on` holds hover(cell or -1, x, y), select(cells) and deselect().

function hasWebgl() {
  try {
    const gl = document.createElement("canvas").getContext("webgl");
    // The library draws positions as float textures.
    return Boolean(gl && gl.getExtension("OES_texture_float") && gl.getExtension("WEBGL_color_buffer_float"));
  } catch {
    return false;
  }
}

function dotSize(n, side) {
  // A third of the map is covered by dots, which then stay apart.
  return Math.max(1.5, Math.min(9, side * Math.sqrt(0.3 / n)));
}

function webglMap(canvas, x, y, on) {
  const box = canvas.parentElement.getBoundingClientRect();
  const scatter = ReglScatterplot.createScatterplot({
    canvas, width: box.width, height: box.height,
    pointSize: dotSize(x.length, box.height), pointSizeSelected: 0, pointOutlineWidth: 0,
    opacity: 1, opacityInactiveMax: 1, opacityInactiveScale: 0.12,
    lassoOnLongPress: false, lassoInitiator: false, lassoColor: "#d55e00", lassoMinDelay: 0, lassoMinDist: 2,
    actionKeyMap: { lasso: "shift", merge: "ctrl" },
    // The library would build its index in a worker from a blob, which a page opened as a file may not start everywhere.
    spatialIndexUseWorker: false,
  });
  let index;
  let pointer = [0, 0];
  canvas.addEventListener("pointermove", (event) => (pointer = [event.offsetX, event.offsetY]));
  scatter.subscribe("pointOver", (cell) => on.hover(cell, ...pointer));
  scatter.subscribe("pointOut", () => on.hover(-1, 0, 0));
  scatter.subscribe("select", ({ points }) => on.select(points));
  scatter.subscribe("deselect", () => on.deselect());
  new ResizeObserver(() => {
    const now = canvas.parentElement.getBoundingClientRect();
    if (now.width > 0 && now.height > 0) scatter.set({ width: now.width, height: now.height });
  }).observe(canvas.parentElement);
  return {
    kind: "webgl",
    scatter,
    async paint(codes, colors, order) {
      scatter.set({ colorBy: "valueA", pointColor: colors, pointColorActive: colors, pointColorHover: colors });
      await scatter.draw({ x, y, valueA: codes }, { zDataType: "categorical", spatialIndex: index });
      scatter.set({ pointOrder: order });
      index ??= scatter.get("spatialIndex");
    },
    background: (color) => scatter.set({ backgroundColor: color }),
    select: (cells) => scatter.select(cells, { preventEvent: true }),
    deselect: () => scatter.deselect({ preventEvent: true }),
    lasso: (wanted) => scatter.set({ mouseMode: wanted ? "lasso" : "panZoom" }),
    reset: () => scatter.reset(),
    image: () => scatter.export(),
  };
}

function canvasMap(canvas, x, y, on) {
  const pen = canvas.getContext("2d");
  const n = x.length;
  let view = { zoom: 1, left: 0, top: 0 };
  let codes, colors, order, chosen, backdrop = "#ffffff", wantsLasso = false, drag = null, path = null, pending = false;

  const side = () => Math.min(canvas.width, canvas.height) / 2;
  const across = (i) => canvas.width / 2 + (x[i] * view.zoom + view.left) * side();
  const down = (i) => canvas.height / 2 - (y[i] * view.zoom + view.top) * side();
  function draw() {
    pending = false;
    pen.fillStyle = backdrop;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    if (!codes) return;
    const size = dotSize(n, canvas.height) * Math.sqrt(view.zoom);
    for (let k = 0; k < n; k++) {
      const i = order[k];
      pen.globalAlpha = !chosen || chosen[i] ? 1 : 0.12;
      pen.fillStyle = colors[codes[i]];
      pen.fillRect(across(i) - size / 2, down(i) - size / 2, size, size);
    }
    pen.globalAlpha = 1;
    if (!path) return;
    pen.strokeStyle = "#d55e00";
    pen.beginPath();
    path.forEach(([a, b]) => pen.lineTo(a, b));
    pen.stroke();
  }
  function later() {
    if (!pending) requestAnimationFrame(draw);
    pending = true;
  }
  function resize() {
    const box = canvas.parentElement.getBoundingClientRect();
    [canvas.width, canvas.height] = [Math.max(1, box.width), Math.max(1, box.height)];
    later();
  }
  function nearest(px, py) {
    let best = -1, least = 64;
    for (let i = 0; i < n; i++) {
      const d = (across(i) - px) ** 2 + (down(i) - py) ** 2;
      if (d < least) [best, least] = [i, d];
    }
    return best;
  }
  function inside(polygon, px, py) {
    let odd = false;
    for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
      const [[xi, yi], [xj, yj]] = [polygon[i], polygon[j]];
      if (yi > py !== yj > py && px < ((xj - xi) * (py - yi)) / (yj - yi) + xi) odd = !odd;
    }
    return odd;
  }
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    if (wantsLasso || event.shiftKey) path = [[event.offsetX, event.offsetY]];
    else drag = { x: event.offsetX, y: event.offsetY, left: view.left, top: view.top };
  });
  canvas.addEventListener("pointermove", (event) => {
    const [px, py] = [event.offsetX, event.offsetY];
    if (path) path.push([px, py]);
    else if (drag) [view.left, view.top] = [drag.left + (px - drag.x) / side(), drag.top - (py - drag.y) / side()];
    else return on.hover(nearest(px, py), px, py);
    later();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (path && path.length > 2) {
      const cells = [];
      for (let i = 0; i < n; i++) if (inside(path, across(i), down(i))) cells.push(i);
      mark(cells);
      on.select(cells);
    } else if (drag && event.offsetX === drag.x && event.offsetY === drag.y) {
      const cell = nearest(drag.x, drag.y);
      if (cell >= 0) on.select([cell]);
    }
    [path, drag] = [null, null];
    later();
  });
  canvas.addEventListener("dblclick", () => {
    mark(null);
    on.deselect();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const factor = Math.exp(-event.deltaY / 500);
    const [a, b] = [(event.offsetX - canvas.width / 2) / side(), (canvas.height / 2 - event.offsetY) / side()];
    view = { zoom: view.zoom * factor, left: a - (a - view.left) * factor, top: b - (b - view.top) * factor };
    later();
  }, { passive: false });
  function mark(cells) {
    chosen = cells && new Uint8Array(n);
    cells?.forEach((i) => (chosen[i] = 1));
    later();
  }
  new ResizeObserver(resize).observe(canvas.parentElement);
  resize();
  return {
    kind: "canvas",
    async paint(newCodes, newColors, newOrder) {
      [codes, colors, order] = [newCodes, newColors, newOrder];
      later();
    },
    background: (color) => { backdrop = color; later(); },
    select: mark,
    deselect: () => mark(null),
    lasso: (wanted) => (wantsLasso = wanted),
    reset: () => { view = { zoom: 1, left: 0, top: 0 }; later(); },
    image: () => pen.getImageData(0, 0, canvas.width, canvas.height),
  };
}
