"use strict";
// Two maps of cells with one interface: WebGL by regl-scatterplot, and a plain canvas where there is no WebGL.
// Coordinates lie in [-1, 1]. `on` holds hover(cell or -1, x, y), select(cells) and deselect().

const FEW = 20_000;

function wantsWebgl(n) {
  try {
    const gl = document.createElement("canvas").getContext("webgl");
    // The library draws positions as float textures.
    if (!gl?.getExtension("OES_texture_float") || !gl.getExtension("WEBGL_color_buffer_float")) return false;
    const about = gl.getExtension("WEBGL_debug_renderer_info");
    const name = about ? gl.getParameter(about.UNMASKED_RENDERER_WEBGL) : "";
    // Without a graphics card WebGL takes a quarter of a second for 200,000 dots, plain pixels a few milliseconds.
    return n <= FEW || !/swiftshader|llvmpipe|software|basic render/i.test(name);
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
    if (now.width > 0 && now.height > 0) scatter.set({ width: now.width, height: now.height, pointSize: dotSize(x.length, now.height) });
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

function packed(color, backdrop, share) {
  // A pixel as ImageData holds it on the little-endian machines that browsers run on, mixed into the background.
  const channel = (hex, i) => parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
  const [r, g, b] = [0, 1, 2].map((i) => Math.round(share * channel(color, i) + (1 - share) * channel(backdrop, i)));
  return (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;
}

function disc(size, width) {
  const reach = Math.floor(size / 2);
  const offsets = [];
  for (let dy = -reach; dy <= reach; dy++)
    for (let dx = -reach; dx <= reach; dx++) if (dx * dx + dy * dy <= (size * size) / 4 || !reach) offsets.push(dy * width + dx);
  return [reach, offsets];
}

function canvasMap(canvas, x, y, on) {
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const n = x.length;
  let view = { zoom: 1, left: 0, top: 0 };
  let codes, colors, order, chosen, backdrop = "#ffffff", wantsLasso = false, drag = null, path = null, pending = false;

  const side = () => Math.min(canvas.width, canvas.height) / 2;
  const across = (i) => canvas.width / 2 + (x[i] * view.zoom + view.left) * side();
  const down = (i) => canvas.height / 2 - (y[i] * view.zoom + view.top) * side();
  function draw() {
    pending = false;
    const [width, height, half] = [canvas.width, canvas.height, side()];
    const image = pen.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    pixels.fill(packed(backdrop, backdrop, 1));
    const [reach, offsets] = disc(dotSize(n, height) * Math.sqrt(view.zoom), width);
    const dots = (palette, wanted) => {
      for (let k = 0; k < order.length; k++) {
        const i = order[k];
        if (chosen && chosen[i] !== wanted) continue;
        const px = (width / 2 + (x[i] * view.zoom + view.left) * half) | 0;
        const py = (height / 2 - (y[i] * view.zoom + view.top) * half) | 0;
        if (px < reach || py < reach || px >= width - reach || py >= height - reach) continue;
        const at = py * width + px;
        const color = palette[codes[i]];
        for (let o = 0; o < offsets.length; o++) pixels[at + offsets[o]] = color;
      }
    };
    if (codes && chosen) dots(colors.map((c) => packed(c, backdrop, 0.15)), 0);
    if (codes) dots(colors.map((c) => packed(c, backdrop, 1)), 1);
    pen.putImageData(image, 0, 0);
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
    [canvas.width, canvas.height] = [Math.max(1, Math.round(box.width)), Math.max(1, Math.round(box.height))];
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
