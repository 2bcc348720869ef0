"use strict";
(() => {
  const map = document.getElementById("hilbert");
  if (!map) return;
  const cursor = document.getElementById("cursor");
  const said = document.getElementById("cell");
  const data = map.dataset;
  const first = Number(data.first);
  const cellLen = Number(data.cellLen);
  const order = (cellLen - Number(data.len)) / 2;
  const side = 2 ** order;
  const words = { s: "scanned", u: "scanned, some unreachable", x: "left out", n: "not among the targets" };

  // The hits of each cell that has any.
  const hits = new Map();
  let place = 0;
  const numbers = data.hits ? data.hits.split(",").map(Number) : [];
  for (let i = 0; i < numbers.length; i += 2) {
    place += numbers[i];
    hits.set(place, numbers[i + 1]);
  }
  // What the cells are, in runs.
  const runs = [...data.ground.matchAll(/([suxn])(\d+)/g)].map((run) => [run[1], Number(run[2])]);
  const groundOf = (cell) => {
    let end = 0;
    for (const [ground, len] of runs) {
      end += len;
      if (cell < end) return words[ground];
    }
    return "";
  };
  // How far a cell of the map of all of IPv4 is from the beginning of the curve.
  const distance = (x, y) => {
    let far = 0;
    for (let half = 2 ** (cellLen / 2 - 1); half >= 1; half /= 2) {
      const right = x >= half ? 1 : 0;
      const lower = y >= half ? 1 : 0;
      far = far * 4 + ((3 * right) ^ lower);
      x -= right * half;
      y -= lower * half;
      if (!lower) [x, y] = right ? [half - 1 - y, half - 1 - x] : [y, x];
    }
    return far;
  };
  const dotted = (address) => [24, 16, 8, 0].map((bits) => Math.floor(address / 2 ** bits) % 256).join(".");

  let at = [0, 0];
  const show = (x, y) => {
    at = [Math.min(Math.max(x, 0), side - 1), Math.min(Math.max(y, 0), side - 1)];
    const far = distance(at[0] + Number(data.x), at[1] + Number(data.y));
    const address = far * 2 ** (32 - cellLen);
    const cell = (address - first) / 2 ** (32 - cellLen);
    const count = hits.get(cell) || 0;
    const network = dotted(address) + (cellLen < 32 ? "/" + cellLen : "");
    said.textContent = network + ": " + count.toLocaleString("en") + " " + data.hit + ", " + groundOf(cell);
    const width = Math.max(1, side / 80);
    cursor.setAttribute("x", at[0] + 0.5 - width / 2);
    cursor.setAttribute("y", at[1] + 0.5 - width / 2);
    cursor.setAttribute("width", width);
    cursor.setAttribute("height", width);
    cursor.setAttribute("visibility", "visible");
  };
  const point = (event) => {
    const box = map.getBoundingClientRect();
    show(Math.floor(((event.clientX - box.left) / box.width) * side), Math.floor(((event.clientY - box.top) / box.height) * side));
  };
  map.addEventListener("pointermove", point);
  map.addEventListener("pointerdown", point);
  map.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? side / 16 : 1;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    show(at[0] + move[0], at[1] + move[1]);
  });
})();
